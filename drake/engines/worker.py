"""The worker of a process: backbones with a method's adapters, and access to the data. It holds no client's state,
which a task (`tasks`) carries to the worker and its result carries back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from drake.common.memory import keep_freed_memory
from drake.common.seeds import torch_generator
from drake.federation.federation import Client, Federation
from drake.federation.messages import Download, State, split_moments
from drake.federation.method import ClientRound, Method
from drake.models.backbones import Backbone

Records = Sequence[Mapping[str, Any]]

Plan = Callable[[int, int], Sequence[Sequence[Records]]]
"""(client, round) -> optimizer steps of micro-batches of records. A pure function of the seed, made before training."""


class Worker:
    """Backbones in memory, each with the method's adapters attached once, and access to the data.

    load: name -> backbone, called once for each. plan: see `Plan`. record: (task, row) -> test record.
    """

    federation: Federation

    def __init__(
        self,
        method: Method,
        load: Callable[[str], Backbone],
        plan: Plan,
        record: Callable[[str, int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.method, self.plan, self.record = method, plan, record
        self._load = load
        self._backbones: dict[str, Backbone] = {}
        self._models: dict[str, nn.Module] = {}
        keep_freed_memory()

    def join(self, federation: Federation) -> None:
        """Set the federation and let the method prepare. Call it before the methods below."""
        self.federation = federation
        self.method.join(federation)
        self.method.prepare(federation)

    def backbone(self, name: str) -> Backbone:
        """The backbone called `name`, loaded at first use."""
        if name not in self._backbones:
            self._backbones[name] = self._load(name)
        return self._backbones[name]

    def model(self, client: Client) -> nn.Module:
        """The model that answers for `client`: its backbone with the method's adapters."""
        if client.backbone not in self._models:
            self._models[client.backbone] = self.method.attach(self.backbone(client.backbone), client)
        return self._models[client.backbone]

    def initial_state(self, client: Client) -> State:
        """The client's tensors before the first round. Clients of one backbone share the initialisation, as in the
        official code: averaging A and B that started from different random values gives a product unrelated to any
        client's update."""
        revision = self.backbone(client.backbone).revision
        generator = torch_generator(self.federation.seed, "initial state", revision)
        return self.method.initial_state(self.client_round(client, generator=generator))

    def client_round(
        self,
        client: Client,
        round: int = 0,
        state: State | None = None,
        download: Download | None = None,
        generator: torch.Generator | None = None,
    ) -> ClientRound:
        """The context in which the method works for the client. generator: default: one for this client and round."""
        seed = self.federation.seed
        own, moments = split_moments(state or {})
        return ClientRound(
            client=client,
            backbone=self.backbone(client.backbone),
            model=self.model(client),
            training=self.federation.training,
            round=round,
            state=own,
            download=download,
            generator=generator or torch_generator(seed, "client round", client.id, round),
            moments=moments,
        )

    def answer_as(
        self, client: Client, state: State, download: Download | None, round: int = 0, trained: bool = False
    ) -> nn.Module:
        """The client's model, ready to answer for it. round: how many are done. trained: see `ClientRound`."""
        now = replace(self.client_round(client, round, state, download), trained=trained)
        self.method.for_inference(now)
        return now.model

"""Where clients run. A worker keeps backbones, never a client's state: any worker can run any client.

`Serial` runs them one after another in this process. An engine is anything with `worker` and `local_updates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from drake.backbones import Backbone
from drake.federation.method import Client, Download, Federation, LocalResult, Method, State, Step
from drake.seeds import derive, torch_generator
from drake.stopping import safe_point

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Job:
    """One client's round: everything `local_update` needs beside the client's state.

    steps: per optimizer step, the records of each micro-batch.
    """

    client: Client
    round: int
    state: State
    download: Download | None
    steps: Sequence[Sequence[Records]]


class Worker:
    """Backbones that stay in memory, each with the method's adapters attached once."""

    def __init__(self, method: Method, load: Callable[[str], Backbone]) -> None:
        self.method = method
        self._load = load
        self._backbones: dict[str, Backbone] = {}
        self._models: dict[str, nn.Module] = {}

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

    def initial_state(self, client: Client, federation: Federation) -> State:
        """The client's tensors before the first round. Clients of one backbone start alike, as the official code does:
        a mean of factors that started apart is the factor of nothing."""
        rng = torch_generator(federation.seed, "initial state", self.backbone(client.backbone).revision)
        return self.method.initial_state(self.model(client), client, rng)

    def local_update(self, job: Job, federation: Federation) -> LocalResult:
        """Run one client's round. Dropout draws from PyTorch's global generator, so that is seeded here from
        (seed, client, round) and restored afterwards."""
        if not job.steps:  # nothing has arrived yet
            return LocalResult(job.state, None, {})
        seed, where = federation.seed, (job.client.id, job.round)
        backbone, model = self.backbone(job.client.backbone), self.model(job.client)

        def batches() -> Iterator[Step]:
            for step in job.steps:
                safe_point()
                yield [backbone.batch(records, answers=True) for records in step]

        devices = [backbone.device] if backbone.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(derive(seed, "dropout", *where))
            rng = torch_generator(seed, "local update", *where)
            return self.method.local_update(model, job.state, job.download, batches(), rng)


class Serial:
    """One worker, here."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def local_updates(self, jobs: Sequence[Job], federation: Federation) -> Iterator[tuple[int, LocalResult]]:
        """(client number, result) of every job, as each is done."""
        for job in jobs:
            yield job.client.id, self.worker.local_update(job, federation)

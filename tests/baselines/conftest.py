"""Shared by the baselines' tests: a backbone with and without adapters, some steps, and one round of a method."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from distillation_world import World
from plain_lora import Adapter, Plain

from drake.config import Training, preset
from drake.data.benchmark import load
from drake.federation import registry
from drake.federation.method import Client, ClientRound, Download, LocalResult, Step
from drake.models import backbones
from drake.models.backbones import Backbone

RATE, CLIP = 0.5, 0.2
CLIENT = Client(0, "llama-4", ("NLVR2-0",))


@dataclass
class Bench:
    """Methods on one micro backbone with two steps of two micro-batches of two records, and the plain way beside them.

    adapters: three random ones, by number.
    """

    backbone: Backbone
    training: Training
    plain: Plain
    steps: list[Step]
    adapters: list[Adapter]

    def method(self, name: str, **options: Any) -> tuple[Any, torch.nn.Module]:
        """The method and its model, on a copy of the backbone."""
        method = registry.find(name)(self.training, {key: str(value) for key, value in options.items()})
        return method, method.attach(self.copy(), CLIENT)

    def copy(self) -> Backbone:
        return replace(self.backbone, model=deepcopy(self.backbone.model))

    def round(self, name: str, state: Adapter, download: Adapter | None = None, steps=None, **options) -> LocalResult:
        """What one local update leaves behind."""
        method, model = self.method(name, **options)
        received = None if download is None else Download(download)
        return method.local_update(self.now(model, state, received), steps or self.steps)

    def now(
        self, model: torch.nn.Module, state: Adapter | None = None, download: Download | None = None, seed: int = 0
    ):
        """The context of a round of the one client there is."""
        generator = torch.Generator().manual_seed(seed)
        return ClientRound(CLIENT, self.backbone, model, self.training, 0, state or {}, download, generator)


@pytest.fixture(scope="session")
def _bench(micro_backbones, micro_data) -> Bench:
    training = replace(preset("quick").training, learning_rate=RATE, gradient_clip=CLIP, rank=4, alpha=8, dropout=0.0)
    backbone = backbones.load(micro_backbones["llama-4"])
    records = load(micro_data).records("NLVR2-0", "train")
    steps = [
        [backbone.batch([records[start], records[start + 1]], answers=True) for start in (4 * step, 4 * step + 2)]
        for step in range(2)
    ]
    plain = Plain(backbone, training.alpha / training.rank)
    return Bench(backbone, training, plain, steps, [plain.random(seed, training.rank) for seed in range(3)])


@pytest.fixture
def bench(_bench, monkeypatch) -> Bench:
    """Descends by the plain (clipped) gradient: after AdamW, a gradient near zero would drown in rounding."""
    monkeypatch.setattr(torch.optim, "AdamW", torch.optim.SGD)
    return _bench


@pytest.fixture(scope="session")
def _world(micro_backbones, micro_data) -> World:
    return World(micro_backbones, micro_data)


@pytest.fixture
def world(_world, monkeypatch) -> World:
    """Descends by the plain gradient, as `bench`."""
    monkeypatch.setattr(torch.optim, "AdamW", torch.optim.SGD)
    return _world

"""Tasks: self-contained units of work. Any worker can run them, with the same bits as a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, cast

import torch

from drake.common.products import Products
from drake.common.seeds import derive, torch_generator
from drake.common.stopping import safe_point
from drake.engines.prefetch import ahead
from drake.engines.worker import Records, Worker
from drake.errors import DrakeError
from drake.federation.federation import Client, Work
from drake.federation.messages import OPTIMIZER, Download, LocalResult, Message, State
from drake.federation.method import Step
from drake.models.backbones import Backbone

T = TypeVar("T")


class Task(Protocol):
    """A self-contained unit of work.

    backbone: the name of the backbone it needs. weight: its relative duration; the longest tasks are started first.
    label: its name in errors.
    """

    @property
    def backbone(self) -> str: ...

    @property
    def weight(self) -> float: ...

    @property
    def label(self) -> str: ...

    def __call__(self, worker: Worker) -> Any: ...


@dataclass(frozen=True)
class Job:
    """Local training of one client in one round: a Task that returns a LocalResult. Its stats gain "tokens", the
    padded tokens that were read.

    counted: count the floating point operations on the way; they are added to the stats as "flops".
    """

    client: Client
    round: int
    state: State
    download: Download | None
    weight: float = 1.0
    counted: bool = False

    @property
    def backbone(self) -> str:
        return self.client.backbone

    @property
    def label(self) -> str:
        return f"client {self.client.id}"

    def __call__(self, worker: Worker) -> LocalResult:
        return self.train_on(worker, worker.plan(self.client.id, self.round))

    def train_on(self, worker: Worker, steps: Sequence[Sequence[Records]]) -> LocalResult:
        """The same on other records than the plan's: [step][micro-batch] of records."""
        if not steps:  # nothing has arrived yet
            return LocalResult(self.state, None, {})
        batches = _Batches(worker.backbone(self.backbone), steps)
        with Products() if self.counted else nullcontext() as products:
            result = self._trained(worker, batches)
        measured = {"tokens": batches.tokens + result.stats.get("tokens", 0)}
        if products is not None:
            measured["flops"] = products.flops
        return replace(result, stats=result.stats | measured)

    def _trained(self, worker: Worker, batches: _Batches) -> LocalResult:
        """Dropout draws from PyTorch's global generator, so that is seeded here from (seed, client, round) and restored
        afterwards."""
        seed, where = worker.federation.seed, (self.client.id, self.round)
        device = worker.backbone(self.backbone).device
        generator = torch_generator(seed, "local update", *where)
        mine = moved(self.state, device), moved(self.download, device)
        now = worker.client_round(self.client, self.round, *mine, generator)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(derive(seed, "dropout", *where))
            result = worker.method.local_update(now, batches)
        moments = {f"{OPTIMIZER}{name}": tensor for name, tensor in now.moments_after().items()}
        return replace(result, state=result.state | moments)


@dataclass(frozen=True)
class ServerTask:
    """A part of the server's aggregation as a Task; returns the work's result."""

    work: Work

    @property
    def backbone(self) -> str:
        return self.work.backbone

    @property
    def weight(self) -> float:
        return self.work.weight

    label = "the server's aggregation"

    def __call__(self, worker: Worker) -> Any:
        return self.work(worker.method)


class _Batches:
    """The steps of a round as `Steps`: batches made of their records one step at a time, on a GPU one step ahead.

    tokens: padded tokens of the steps taken so far.
    """

    def __init__(self, backbone: Backbone, steps: Sequence[Sequence[Records]]) -> None:
        self._backbone, self._steps = backbone, steps
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        made = ([self._backbone.batch(records, answers=True) for records in step] for step in self._steps)
        # On a CPU both would want the same cores.
        for step in ahead(made) if self._backbone.device.type == "cuda" else made:
            safe_point()
            self.tokens += sum(batch.input_ids.numel() for batch in step)
            yield step


def moved(value: T, device: str | torch.device) -> T:
    """The same dict, list, message or result with its tensors on `device`; no copy of what is there already."""
    if isinstance(value, torch.Tensor):
        return cast("T", value.to(device))
    if isinstance(value, list):
        return cast("T", [moved(item, device) for item in value])
    if isinstance(value, Mapping):
        return cast("T", {key: moved(item, device) for key, item in value.items()})
    if isinstance(value, (Message, LocalResult)):
        return replace(value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value)})
    return value


def perform(task: Task, worker: Worker) -> Any:
    """The task's result; a DrakeError begins with the task's label."""
    try:
        return task(worker)
    except DrakeError as error:
        raise DrakeError(f"{task.label}: {error}") from error

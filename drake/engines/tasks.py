"""Where the work runs. An engine takes tasks and gives back their results; a task says what is to be done, and any
worker can do it.

A worker keeps caches (backbones with a method's adapters on them, encoded pictures), never a client's state: that
travels in the task and in its result. `Serial` works in this process; `slots.Slots` hands tasks to forked processes
(processes.py) or to GPUs and machines (cluster.py), to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from drake.common.seeds import derive, torch_generator
from drake.common.stopping import safe_point
from drake.engines.prefetch import ahead
from drake.errors import DrakeError
from drake.federation.flops import operations
from drake.federation.method import Client, Download, Federation, LocalResult, Message, Method, State, Step
from drake.models.backbones import Backbone

Records = Sequence[Mapping[str, Any]]

Plan = Callable[[int, int], Sequence[Sequence[Records]]]
"""(client, round) -> optimizer steps of micro-batches of records. A pure function of the seed, made before training."""

T = TypeVar("T")


class Worker:
    """Backbones that stay in memory, each with the method's adapters attached once, and the way to the data.

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

    def join(self, federation: Federation) -> None:
        """Learn who takes part, and let the method prepare. Comes before everything that follows."""
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
        """The client's tensors before the first round. Clients of one backbone start alike, as the official code does:
        a mean of factors that started apart is the factor of nothing."""
        rng = torch_generator(self.federation.seed, "initial state", self.backbone(client.backbone).revision)
        return self.method.initial_state(self.model(client), client, rng)


class Task(Protocol):
    """What any worker can do, with everything in it that the worker has not.

    backbone: whose it is. weight: how long it takes, in any unit; the longest go first. label: names it in errors.
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
    """One client's round, as a Task that returns its LocalResult, with the padded tokens it read among the stats.

    counted: do the round once more, for the floating point operations it spends; they join the stats.
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
        steps = worker.plan(self.client.id, self.round)
        if not steps:  # nothing has arrived yet
            return LocalResult(self.state, None, {})
        batches = _Batches(worker.backbone(self.backbone), steps)
        result = self._trained(worker, batches)
        measured = {"tokens": batches.tokens + result.stats.get("tokens", 0)}
        if self.counted:  # what is encoded once and kept has been encoded by now
            measured["operations"] = operations(lambda: self._trained(worker, batches))
        return replace(result, stats=result.stats | measured)

    def _trained(self, worker: Worker, batches: _Batches) -> LocalResult:
        """Dropout draws from PyTorch's global generator, so that is seeded here from (seed, client, round) and restored
        afterwards."""
        seed, where = worker.federation.seed, (self.client.id, self.round)
        backbone, model = worker.backbone(self.backbone), worker.model(self.client)

        devices = [backbone.device] if backbone.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(derive(seed, "dropout", *where))
            rng = torch_generator(seed, "local update", *where)
            state, download = (moved(mine, backbone.device) for mine in (self.state, self.download))
            return worker.method.local_update(model, state, download, batches, rng)


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
    """The same dict, message or result with its tensors on `device`; no copy of what is there already."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, (Message, LocalResult)):
        return replace(value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value)})
    return value


def perform(task: Task, worker: Worker) -> Any:
    """The task's result; a DrakeError says whose it is."""
    try:
        return task(worker)
    except DrakeError as error:
        raise DrakeError(f"{task.label}: {error}") from error


class Shared(Generic[T]):
    """A value that several tasks carry."""

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        return self._value


class Engine(Protocol):
    """Where tasks are done."""

    worker: Worker
    """This process's own worker, for what is done once: states before the first round, the server's part."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index of the task, its result) of every task, in whatever order they are done."""
        ...

    def share(self, value: T) -> Shared[T]:
        """The value in a form that tasks carry at little cost."""
        ...


class Serial:
    """One task after another, here."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            yield index, perform(task, self.worker)

    def share(self, value: T) -> Shared[T]:
        return Shared(value)

"""A method, and the small federations it is tried on, in the loop of a real run (`federation.loop`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drake.config import Config
from drake.data.benchmark import Benchmark
from drake.engines.serial import Serial
from drake.engines.tasks import Task
from drake.engines.worker import Records, Worker
from drake.federation import registry
from drake.federation.callbacks import Callback, RoundContext, RunContext
from drake.federation.federation import Architecture, Client, Federation
from drake.federation.loop import run_rounds
from drake.federation.messages import Download, LocalResult, State, Upload
from drake.federation.participation import Participation
from drake.models import backbones
from drake.runs.setup import public_records


@dataclass(frozen=True)
class TrialSize:
    """How large the trials are. alike: the backbones of the clients, one for all. mixed: those of a trial with
    different sizes and families. records: of an optimizer step. costed_steps: steps of the round whose cost is counted:
    enough for what happens now and then."""

    alike: tuple[str, ...] = ("tiny-llama-s", "tiny-llama-s")
    mixed: tuple[str, ...] = ("tiny-llama-s", "tiny-llama-m", "tiny-qwen-s")
    rounds: int = 3
    steps: int = 2
    records: int = 4
    costed_steps: int = 10


@dataclass
class Trace(Callback):
    """The outcome of a trial run, by round and by client. uploads: what was aggregated. answers: what the server then
    gave to the participants. downloads: what every client has last received. servers: what the server then carried."""

    results: list[dict[int, LocalResult]] = field(default_factory=list)
    uploads: list[dict[int, Upload]] = field(default_factory=list)
    answers: list[dict[int, Download]] = field(default_factory=list)
    downloads: list[dict[int, Download]] = field(default_factory=list)
    servers: list[State] = field(default_factory=list)

    def round_aggregated(self, round: RoundContext) -> None:
        progress = round.run.progress
        self.results.append(dict(round.results))
        self.uploads.append(dict(progress.uploads))
        self.answers.append(dict(round.received))
        self.downloads.append(dict(progress.downloads))
        self.servers.append(dict(progress.server))


class Trial:
    """`run` must be deterministic: the checks compare the traces of two runs."""

    def __init__(
        self,
        method: str,
        options: Mapping[str, Any],
        preset: Config,
        benchmark: Benchmark,
        size: TrialSize | None = None,
    ) -> None:
        self.method_class, self._options, self._benchmark = registry.find(method), dict(options), benchmark
        self.size = size or TrialSize()
        chosen = preset.with_(steps=self.size.steps, micro_batch=self.size.records, accumulation=1)
        self.training = chosen.training
        self.tasks = [tasks[0] for tasks in benchmark.clients]
        self._first: Trace | None = None

    @property
    def first(self) -> Trace:
        """The run that others are compared with."""
        if self._first is None:
            self._first = self.run()
        return self._first

    def worker(self, names: Sequence[str] = (), records: int = 0, steps: int = 0, own_public: bool = False) -> Worker:
        """A fresh one, with bare backbones and a method that knows nothing yet; default: the sizes of the trial.
        own_public: records of client 0 stand for public ones, which may be shorter or longer."""
        names, records, steps = names or self.size.alike, records or self.size.records, steps or self.size.steps
        loaded = {name: backbones.load(name) for name in dict.fromkeys(names)}
        clients = tuple(Client(number, name, (self.tasks[number],)) for number, name in enumerate(names))

        def plan(client: int, round: int) -> list[list[Records]]:
            table = self._benchmark.records(clients[client].tasks[0], "train")
            start = round * steps * records
            return [[[table[start + step * records + k] for k in range(records)]] for step in range(steps)]

        training = replace(self.training, steps=round(steps * self.method_class.relative_cost))  # that make `steps`
        worker = Worker(self.method_class(training, self._options), loaded.__getitem__, plan)
        architectures = {name: Architecture(name, found.family, found.num_layers) for name, found in loaded.items()}
        own = self._benchmark.records(clients[0].tasks[0], "train")

        def public(count: int, purpose: str) -> list[Mapping[str, Any]]:
            if own_public:
                return [own[row % (steps * records)] for row in range(count)]
            return public_records(self._benchmark.public_rows, count, purpose)

        worker.join(Federation(clients, architectures, 0, self.size.rounds, training, worker.backbone, public))
        return worker

    def run(
        self,
        worker: Worker | None = None,
        backwards: bool = False,
        disturb: Callable[[], None] = lambda: None,
        rounds: int | None = None,
        absent: Mapping[int, int] | None = None,
    ) -> Trace:
        """All rounds, or so many. backwards: clients train and are aggregated in descending order. disturb: called
        before whatever the method does. absent: round -> the client that is."""
        worker, trace = worker or self.worker(), Trace()
        run = RunContext(worker.federation, worker.method)
        for client in worker.federation.clients[:: -1 if backwards else 1]:
            disturb()
            run.progress.states[client.id] = worker.initial_state(client)
        if backwards:
            _aggregate_backwards(worker)
        engine, callbacks = _Disturbed(worker, backwards, disturb), [_Disturbing(disturb), trace]
        run_rounds(engine, run, callbacks, participation=_Without(left_out=absent or {}), rounds=rounds)
        return trace


class _Disturbed(Serial):
    """Calls `disturb` before every task; backwards: the last task comes first."""

    def __init__(self, worker: Worker, backwards: bool, disturb: Callable[[], None]) -> None:
        super().__init__(worker)
        self._backwards, self._disturb = backwards, disturb

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        for index in sorted(range(len(tasks)), reverse=self._backwards):
            self._disturb()
            for _, result in super().run([tasks[index]]):
                yield index, result


class _Disturbing(Callback):
    """Calls `disturb` before the server aggregates."""

    def __init__(self, disturb: Callable[[], None]) -> None:
        self._disturb = disturb

    def round_trained(self, round: RoundContext) -> None:
        self._disturb()


@dataclass(frozen=True)
class _Without(Participation):
    """Everyone but one client in some rounds. left_out: round -> that client."""

    left_out: Mapping[int, int] = field(default_factory=dict)

    def present(self, federation: Federation, round: int) -> frozenset[int]:
        return super().present(federation, round) - {self.left_out.get(round)}


def _aggregate_backwards(worker: Worker) -> None:
    """Let this worker's method meet the uploads in descending order of the clients."""
    method, aggregate = worker.method, worker.method.aggregate

    def backwards(round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        return aggregate(round, dict(sorted(uploads.items(), reverse=True)), federation)

    method.aggregate = backwards  # type: ignore[method-assign]

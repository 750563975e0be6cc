"""`drake check-method`: what a method of one's own breaks, found on a small federation before a long run does.

Two clients of one backbone train a few rounds; then the same work is done again with one circumstance changed that must
not matter. Every check is a function of a `Trial` that returns a sentence when something is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drake.config import Config
from drake.data.benchmark import Benchmark
from drake.engines.tasks import Job, Records, Worker, perform
from drake.errors import DrakeError
from drake.federation import adapters, registry
from drake.federation.flops import operations
from drake.federation.local_training import task_loss
from drake.federation.method import Architecture, Client, Download, Federation, LocalResult, State, Upload
from drake.models import backbones
from drake.models.backbones import Batch
from drake.runs.setup import public_records
from drake.scoring.generation import generate

ALIKE, MIXED = ("tiny-llama-s", "tiny-llama-s"), ("tiny-llama-s", "tiny-llama-m", "tiny-qwen-s")
ROUNDS, STEPS, RECORDS = 3, 2, 4
COSTED_STEPS = 10
"""Steps of the round whose cost is counted: enough for what happens now and then."""
COST_TOLERANCE = 0.1
"""How far a declared cost may be from the measured one: the rule of equal compute."""


@dataclass
class Trace:
    """What a run left: by round, by client. uploads: what was mixed. answers: what that returned. downloads: what every
    client has last received. servers: what the server then carried."""

    results: list[dict[int, LocalResult]] = field(default_factory=list)
    uploads: list[dict[int, Upload]] = field(default_factory=list)
    answers: list[dict[int, Download]] = field(default_factory=list)
    downloads: list[dict[int, Download]] = field(default_factory=list)
    servers: list[State] = field(default_factory=list)


class Trial:
    """A method, and the small federations it is tried on. `run` gives equal traces for equal arguments, or there is
    something to find."""

    def __init__(self, method: str, options: Mapping[str, Any], preset: Config, benchmark: Benchmark) -> None:
        self.method_class, self._options, self._benchmark = registry.find(method), dict(options), benchmark
        self.training = preset.with_(steps=STEPS, micro_batch=RECORDS, accumulation=1).training
        self.tasks = [tasks[0] for tasks in benchmark.clients]
        self._first: Trace | None = None

    @property
    def first(self) -> Trace:
        """The run that others are compared with."""
        if self._first is None:
            self._first = self.run()
        return self._first

    def worker(
        self, names: Sequence[str] = (), records: int = 0, steps: int = STEPS, own_public: bool = False
    ) -> Worker:
        """A fresh one, with bare backbones and a method that knows nothing yet; default: `ALIKE` and `RECORDS`.
        own_public: records of client 0 stand for public ones, which may be shorter or longer."""
        names, records = names or ALIKE, records or RECORDS
        loaded = {name: backbones.load(name) for name in dict.fromkeys(names)}
        clients = tuple(Client(number, name, (self.tasks[number],)) for number, name in enumerate(names))

        def plan(client: int, round: int) -> list[list[Records]]:
            table = self._benchmark.records(clients[client].tasks[0], "train")
            start = round * steps * records
            return [[[table[start + step * records + k] for k in range(records)]] for step in range(steps)]

        training = replace(self.training, steps=round(steps * self.method_class.relative_cost))  # that make `steps`
        worker = Worker(self.method_class(training, self._options), loaded.__getitem__, plan)
        architectures = {name: Architecture(name, found.family, found.num_layers) for name, found in loaded.items()}
        facts = (clients, architectures, 0, ROUNDS, training, worker.backbone)
        own = self._benchmark.records(clients[0].tasks[0], "train")

        def public(count: int, purpose: str) -> list[Mapping[str, Any]]:
            if own_public:
                return [own[row % (steps * records)] for row in range(count)]
            return public_records(self._benchmark, count, purpose)

        worker.join(Federation(*facts, public))
        return worker

    def run(
        self,
        worker: Worker | None = None,
        backwards: bool = False,
        disturb: Callable[[], None] = lambda: None,
        rounds: int = ROUNDS,
        away: Mapping[int, int] | None = None,
    ) -> Trace:
        """All rounds. backwards: clients in descending order. disturb: called before whatever the method does. away:
        round -> the client that sits it out."""
        worker = worker or self.worker()
        clients = worker.federation.clients[:: -1 if backwards else 1]
        states: dict[int, State] = {}
        for client in clients:
            disturb()
            states[client.id] = worker.initial_state(client)
        worker.method.restore({})
        trace, uploads, received = Trace(), {}, {}
        for round in range(rounds):
            results = {}
            for client in clients:
                if (away or {}).get(round) == client.id:
                    continue
                disturb()
                job = Job(client, round, states[client.id], received.get(client.id))
                results[client.id] = perform(job, worker)
                states[client.id] = results[client.id].state
                if results[client.id].upload is not None:
                    uploads[client.id] = results[client.id].upload
            disturb()
            ordered = {i: uploads[i] for i in sorted(uploads, reverse=backwards)}
            answers = dict(worker.method.mix(round, ordered, worker.federation)) if uploads else {}
            received |= answers
            trace.results.append(results)
            trace.uploads.append(ordered)
            trace.answers.append(answers)
            trace.downloads.append(dict(received))
            trace.servers.append(dict(worker.method.server_state()))
        return trace


@dataclass(frozen=True)
class Check:
    """What is looked at, in words, and the function that returns a sentence when it is wrong."""

    title: str
    fault: Callable[[Trial], str | None]


def findings(trial: Trial) -> Iterator[tuple[str, str | None]]:
    """(title, what is wrong or None) of every check, one after another. An exception of the method is a fault of it."""
    for check in CHECKS:
        try:
            yield check.title, check.fault(trial)
        except DrakeError as error:
            yield check.title, str(error)
        except Exception as error:  # whatever a method of somebody's own raises
            yield check.title, f"it raises {type(error).__name__}: {error}"


def _trains(trial: Trial) -> str | None:
    for round, results in enumerate(trial.first.results):
        for client, result in results.items():
            groups = {"state": result.state, "upload": result.upload.tensors if result.upload else {}}
            for what, tensors in groups.items():
                for name, tensor in tensors.items():
                    if not torch.isfinite(tensor).all():
                        return f"client {client}'s {what} holds NaN or infinity in {name} after round {round + 1}."
            if "loss" not in result.stats:
                return "local_update reports no loss; put it into stats."
    start, end = trial.first.results[0][0].state, trial.first.results[-1][0].state
    if all(torch.equal(start[name], end[name]) for name in start.keys() & end.keys()):
        return "nothing in the state of client 0 changes from round to round: nothing trains, or it is not returned."
    return None


def _answers(trial: Trial) -> str | None:
    worker = trial.worker()
    trace = trial.run(worker)
    client = worker.federation.clients[0]
    model = worker.model(client)
    worker.method.for_inference(model, trace.results[-1][0].state, trace.downloads[-1].get(0))
    model.eval()
    backbone = worker.backbone(client.backbone)
    batch = backbone.batch(worker.plan(0, 0)[0][0], answers=False)
    generate(model, batch, backbone.stop_ids, 4)
    return None


def _state_grows(trial: Trial) -> str | None:
    for client in trial.first.results[0]:
        shapes = [_shapes(results[client].state) for results in trial.first.results]
        if fault := _changes(shapes, "the state of a client", "a run would fill its disk"):
            return fault
    return None


def _messages_change(trial: Trial) -> str | None:
    first = trial.first
    for client in first.results[0]:
        uploads = [results[client].upload for results in first.results]
        if len({upload is None for upload in uploads}) > 1:
            return "a client sends something in some rounds and nothing in others."
        downloads = [answers.get(client) for answers in first.answers]  # a server may skip rounds
        for what, messages in (("an upload", uploads), ("a download", downloads)):
            messages = [message for message in messages if message is not None]
            shapes = [_shapes(message.tensors) for message in messages]
            if fault := _changes(shapes, what, "what was measured in one round would not hold for the next"):
                return fault
            if len({frozenset(message.numbers) for message in messages}) > 1:
                return f"the numbers of {what} have other names from round to round."
    return None


def _data_sets_the_size(trial: Trial) -> str | None:
    fewer = trial.run(trial.worker(records=RECORDS // 2), rounds=1).results[0][0].upload
    usual = trial.first.results[0][0].upload
    if usual is not None and fewer is not None and _shapes(usual.tensors) != _shapes(fewer.tensors):
        return "an upload has another shape when a client trains on fewer records, so it tells how many there are."
    return None


def _data_leaks(trial: Trial) -> str | None:
    """Looks for the records themselves: their token ids, embeddings and picture features as rows of what is sent, in
    whatever format that is."""
    worker = trial.worker()
    client, backbone = worker.federation.clients[0], worker.backbone(ALIKE[0])
    state = worker.initial_state(client)
    for round in range(ROUNDS):  # without a server, which might not bear what is sent
        result = perform(Job(client, round, state, None), worker)
        state = result.state
        if result.upload is None:
            continue
        batches = [backbone.batch(step[0], answers=True) for step in worker.plan(0, round)]
        rows = {
            "token ids": [row[row != backbone.pad_id].float() for b in batches for row in b.input_ids],
            "embeddings": [row for b in batches for row in b.inputs["inputs_embeds"].flatten(0, 1).float()],
        }
        formats = {tensor.dtype for tensor in result.upload.tensors.values()}
        sought = {
            (what, kind): _distinct([row.to(kind).float() for row in found])
            for what, found in rows.items()
            for kind in formats
        }
        for name, tensor in result.upload.tensors.items():
            flat = tensor.detach().float().flatten()
            for what in rows:
                if any(_holds(flat, row) for row in sought[what, tensor.dtype]):
                    return f"{name} of an upload holds {what} of a client's records as they are."
    return None


def _global_generators(trial: Trial) -> str | None:
    def disturb() -> None:
        random.seed(len(noise))
        np.random.seed(len(noise))
        torch.manual_seed(len(noise))
        noise.append(0)

    noise = [0] * 1000
    return _differs(
        trial.first, trial.run(disturb=disturb), "when Python's, NumPy's and PyTorch's global generators were"
    )


def _order(trial: Trial) -> str | None:
    return _differs(trial.first, trial.run(backwards=True), "when clients ran and were mixed in descending order, not")


def _memory(trial: Trial) -> str | None:
    """Any worker may do any client's round: one that has never seen the client must come to the same."""
    first = trial.first
    for client in (0, 1):
        worker = trial.worker()
        before = first.results[0][client].state, first.downloads[0].get(client)
        found = perform(Job(worker.federation.clients[client], 1, *before), worker)
        if not _equal(found, first.results[1][client]):
            return (
                "a client's round comes out differently on a worker that has not run the earlier ones: something is "
                "kept in the method or the model that belongs into the state or the download."
            )
    return None


def _absence(trial: Trial) -> str | None:
    """One that has not sent anything yet, and one that has."""
    trial.run(away={0: 1, 2: 0})
    return None


def _servers_memory(trial: Trial) -> str | None:
    """A run that was stopped goes on in another process, where nothing is left of the server but its state."""
    first = trial.first
    if not first.uploads[1]:
        return None
    worker = trial.worker()
    worker.method.restore(first.servers[0])
    found = dict(worker.method.mix(1, first.uploads[1], worker.federation))
    if not _equal(found, first.answers[1]) or not _equal(dict(worker.method.server_state()), first.servers[1]):
        return "the server mixes differently after a restart: what it remembers is not in `server_state`."
    return None


def _says_what_it_sends(trial: Trial) -> str | None:
    worker = trial.worker()
    trace = trial.run(worker, rounds=1)
    client = worker.federation.clients[0]
    upload, download = trace.results[0][0].upload, trace.downloads[0].get(0)
    for hook, crossed in (("sent", upload), ("received", download)):
        said = getattr(worker.method, hook)(worker.model(client), client)
        if _shapes(said) != _shapes(crossed.tensors if crossed else {}):
            return f"`{hook}` names other tensors than those that cross; `drake comm` would count wrongly."
    return None


def _mixed(trial: Trial) -> str | None:
    if trial.method_class.mixed:
        trial.run(trial.worker(MIXED), rounds=2)
    return None


def _cost(trial: Trial) -> str | None:
    """Equal compute: floating point operations of a local step, in units of an SFT step, in a round that has a download
    to begin with."""
    kept = adapters.FOLDED_WIDTH
    adapters.FOLDED_WIDTH = 0  # as on backbones of a real size
    try:
        worker, plain = (trial.worker(steps=COSTED_STEPS, own_public=True) for _ in range(2))
        batches: dict[Worker, list[Batch]] = {}
        for one in (worker, plain):
            backbone = one.backbone(ALIKE[0])
            batches[one] = [backbone.batch(step[0], answers=True) for step in one.plan(0, 0)]  # pictures are encoded
        client = worker.federation.clients[0]
        before = trial.run(worker, rounds=1)
        job = Job(client, 0, before.results[0][0].state, before.downloads[0].get(0))
        spent = operations(lambda: perform(job, worker))
        adapters.add(backbone.model, ["plain"], trial.training)
        adapters.activate(backbone.model, "plain")
        adapters.train_only(backbone.model, adapters.tensors(backbone.model, "plain").values())
        unit = operations(lambda: [task_loss(backbone.model, batch).backward() for batch in batches[plain]])
    finally:
        adapters.FOLDED_WIDTH = kept
    found, declared = spent / unit, trial.method_class.relative_cost
    if abs(found / declared - 1) > COST_TOLERANCE:
        return f"a step costs {found:.2f} times one of SFT here, but relative_cost is {declared:.2f}."
    return None


CHECKS: tuple[Check, ...] = (
    Check("trains, and stays finite", _trains),
    Check("answers", _answers),
    Check("the state keeps its size", _state_grows),
    Check("uploads and downloads keep their shape", _messages_change),
    Check("uploads keep their shape when there are fewer records", _data_sets_the_size),
    Check("uploads hold no record", _data_leaks),
    Check("global random generators do not matter", _global_generators),
    Check("the order of clients does not matter", _order),
    Check("nothing is kept outside the state", _memory),
    Check("clients may be away", _absence),
    Check("the server goes on after a restart", _servers_memory),
    Check("says what it sends", _says_what_it_sends),
    Check("runs with mixed sizes and families, or says that it does not", _mixed),
    Check("costs what it declares", _cost),
)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _changes(shapes: Sequence[Mapping[str, Any]], whose: str, why: str) -> str | None:
    for round, (before, after) in enumerate(pairwise(shapes), start=2):
        if before != after:
            names = sorted({n for n in before.keys() | after.keys() if before.get(n) != after.get(n)})
            return f"{whose} has other tensors or shapes after round {round} than before ({names[0]}): {why}."
    return None


def _equal(first: Any, second: Any) -> bool:
    """Whether two results, messages or dicts of tensors have the same bits."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, (LocalResult, Upload, Download)):
        return type(first) is type(second) and _equal(vars(first), vars(second))
    return first == second


def _differs(usual: Trace, changed: Trace, when: str) -> str | None:
    for round, (before, after) in enumerate(zip(usual.results, changed.results, strict=True), start=1):
        for client in sorted(before):
            if not _equal(before[client], after[client]):
                return f"client {client} came out of round {round} differently {when} as before."
        if not _equal(usual.downloads[round - 1], changed.downloads[round - 1]):
            return f"the downloads of round {round} were different {when} as before."
    return None


def _distinct(rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows that are long enough to be told from chance, each once."""
    return list({row.numpy().tobytes(): row for row in rows if len(row) > 8 and row.unique().numel() > 4}.values())


def _holds(flat: Tensor, row: Tensor) -> bool:
    """Whether `row` stands in `flat` in one piece."""
    starts = (flat[: max(0, len(flat) - len(row) + 1)] == row[0]).nonzero().flatten().tolist()
    return any(torch.equal(flat[start : start + len(row)], row) for start in starts)

"""The checks of `drake check-method`. Every check is a function of a `Trial` that returns a sentence when something is
wrong, and None otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from drake.engines.tasks import Job, perform
from drake.errors import DrakeError
from drake.scoring.generation import generate
from drake.tools.check_method.compare import changes, differs, equal, shapes_of
from drake.tools.check_method.cost import cost
from drake.tools.check_method.leaks import leak
from drake.tools.check_method.trial import Trial


@dataclass(frozen=True)
class Check:
    """The title of a check, and the function that returns a sentence when something is wrong."""

    title: str
    fault: Callable[[Trial], str | None]


def findings(trial: Trial, checks: Sequence[Check] | None = None) -> Iterator[tuple[str, str | None]]:
    """(title, what is wrong or None) of every check, one after another; checks: default: all. An exception of the
    method is a fault of it."""
    for check in CHECKS if checks is None else checks:
        try:
            yield check.title, check.fault(trial)
        except DrakeError as error:
            yield check.title, str(error)
        except Exception as error:  # whatever a method of somebody's own raises
            yield check.title, f"it raises {type(error).__name__}: {error}"


def _trains(trial: Trial) -> str | None:
    """That everything is finite, the loop itself makes sure."""
    if any("loss" not in result.stats for results in trial.first.results for result in results.values()):
        return "local_update reports no loss; put it into stats."
    start, end = trial.first.results[0][0].state, trial.first.results[-1][0].state
    if all(torch.equal(start[name], end[name]) for name in start.keys() & end.keys()):
        return "nothing in the state of client 0 changes from round to round: nothing trains, or it is not returned."
    return None


def _answers(trial: Trial) -> str | None:
    worker = trial.worker()
    trace = trial.run(worker)
    client = worker.federation.clients[0]
    rounds = len(trace.results)
    model = worker.answer_as(client, trace.results[-1][0].state, trace.downloads[-1].get(0), rounds).eval()
    backbone = worker.backbone(client.backbone)
    batch = backbone.batch(worker.plan(0, 0)[0][0], answers=False)
    generate(model, batch, backbone.stop_ids, 4)
    return None


def _state_grows(trial: Trial) -> str | None:
    for client in trial.first.results[0]:
        shapes = [shapes_of(results[client].state) for results in trial.first.results]
        if fault := changes(shapes, "the state of a client", "a run would fill its disk"):
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
            shapes = [shapes_of(message.tensors) for message in messages]
            if fault := changes(shapes, what, "what was measured in one round would not hold for the next"):
                return fault
            if len({frozenset(message.numbers) for message in messages}) > 1:
                return f"the numbers of {what} have other names from round to round."
    return None


def _data_sets_the_size(trial: Trial) -> str | None:
    fewer = trial.run(trial.worker(records=trial.size.records // 2), rounds=1).results[0][0].upload
    usual = trial.first.results[0][0].upload
    if usual is not None and fewer is not None and shapes_of(usual.tensors) != shapes_of(fewer.tensors):
        return "an upload has another shape when a client trains on fewer records, so it tells how many there are."
    return None


def _data_leaks(trial: Trial) -> str | None:
    worker = trial.worker()
    client = worker.federation.clients[0]
    state = worker.initial_state(client)
    for round in range(trial.size.rounds):  # without a server, which might not bear what is sent
        result = perform(Job(client, round, state, None), worker)
        state = result.state
        records = [step[0] for step in worker.plan(0, round)]
        sent = result.upload.tensors if result.upload else {}
        if found := leak(sent, worker.backbone(client.backbone), records):
            return found
    return None


def _global_generators(trial: Trial) -> str | None:
    def disturb() -> None:
        random.seed(len(noise))
        np.random.seed(len(noise))
        torch.manual_seed(len(noise))
        noise.append(0)

    noise = [0] * 1000
    return differs(
        trial.first, trial.run(disturb=disturb), "when Python's, NumPy's and PyTorch's global generators were"
    )


def _order(trial: Trial) -> str | None:
    return differs(trial.first, trial.run(backwards=True), "when clients came in descending order, not")


def _memory(trial: Trial) -> str | None:
    """Any worker may do any client's round: one that has never seen the client must come to the same."""
    first = trial.first
    for client in (0, 1):
        worker = trial.worker()
        before = first.results[0][client].state, first.downloads[0].get(client)
        found = perform(Job(worker.federation.clients[client], 1, *before), worker)
        if not equal(found, first.results[1][client]):
            return (
                "a client's round comes out differently on a worker that has not run the earlier ones: something is "
                "kept in the method or the model that belongs into the state or the download."
            )
    return None


def _absence(trial: Trial) -> str | None:
    """One that has not sent anything yet, and one that has."""
    trial.run(absent={0: 1, 2: 0})
    return None


def _servers_memory(trial: Trial) -> str | None:
    """A run that was stopped goes on in another process, where nothing is left of the server but its state."""
    first = trial.first
    if not first.uploads[1]:
        return None
    worker = trial.worker()
    worker.method.restore(first.servers[0])
    found = dict(worker.method.aggregate(1, first.uploads[1], worker.federation))
    if not equal(found, first.answers[1]) or not equal(dict(worker.method.server_state()), first.servers[1]):
        return "the server aggregates differently after a restart: what it remembers is not in `server_state`."
    return None


def _declares_what_it_sends(trial: Trial) -> str | None:
    worker = trial.worker()
    trace = trial.run(worker, rounds=1)
    client = worker.federation.clients[0]
    upload, download = trace.results[0][0].upload, trace.downloads[0].get(0)
    for hook, crossed in (("sent", upload), ("received", download)):
        named = getattr(worker.method, hook)(worker.client_round(client))
        if shapes_of(named) != shapes_of(crossed.tensors if crossed else {}):
            return f"`{hook}` names other tensors than those that cross; `drake comm` would count wrongly."
    return None


def _mixed(trial: Trial) -> str | None:
    if trial.method_class.mixed:
        trial.run(trial.worker(trial.size.mixed), rounds=2)
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
    Check("clients may be absent", _absence),
    Check("the server goes on after a restart", _servers_memory),
    Check("declares what it sends", _declares_what_it_sends),
    Check("runs with mixed sizes and families, or declares that it does not", _mixed),
    Check("costs what it declares", cost),
)

"""The protocol: in every round the participants train, the server aggregates what they send, they get its answer.

A client is scored either as it comes out of its local training (`trained`: its new state, beside the download that it
had at the start of the round) or after it has received what the server aggregated (`aggregated`).
Everything else that happens in a run is a callback (`callbacks`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from drake.engines.serial import Engine
from drake.engines.tasks import Job, ServerTask
from drake.errors import DrakeError
from drake.federation.callbacks import (
    Callback,
    CallbackList,
    ClientContext,
    EvaluationContext,
    RoundContext,
    RunContext,
)
from drake.federation.federation import Client, Work
from drake.federation.messages import LocalResult
from drake.federation.method import Method
from drake.federation.participation import EVERYONE, Participation
from drake.federation.state import Progress

EvaluateAt = Literal["trained", "aggregated"]

Evaluate = Callable[[RunContext, int, EvaluateAt], Mapping[str, float | None] | None]
"""(run, rounds done, moment) -> the averages of the scores so far, by name; None where nothing had to be done.
0 rounds: the bare backbones."""


def run_rounds(
    engine: Engine,
    run: RunContext,
    callbacks: Iterable[Callback] = (),
    participation: Participation = EVERYONE,
    evaluate: Evaluate | None = None,
    evaluation_rounds: Container[int] = (),
    evaluate_at: EvaluateAt = "trained",
    also_aggregated: bool = False,
    rounds: int | None = None,
) -> Progress:
    """Bring `run.progress` to the last round, or to `rounds`; a resumed run goes on after the rounds it has done.

    also_aggregated: at evaluation points `trained`, `evaluate` is called once more after the aggregation.
    """
    worker, progress, call = engine.worker, run.progress, CallbackList(callbacks)
    method, federation = worker.method, worker.federation
    on_engine = replace(federation, compute=partial(on_workers, engine))

    def score(rounds_done: int, moment: EvaluateAt = evaluate_at) -> None:
        scores = evaluate(run, rounds_done, moment) if evaluate and rounds_done in evaluation_rounds else None
        if scores is not None:
            call.evaluated(EvaluationContext(run, rounds_done, scores=scores))

    call.run_started(run)
    score(0)
    for client in federation.clients:
        if client.id not in progress.states:
            progress.states[client.id] = worker.initial_state(client)
    method.restore(progress.server)

    for number in range(progress.rounds_done, federation.rounds if rounds is None else rounds):
        round = RoundContext(run, number, participation.present(federation, number))
        round.received = progress.deliver({}, round.participants)  # what has waited for absent clients
        call.round_started(round)

        for client, result in local_training(engine, round):
            round.results[client.id] = result
            call.client_trained(ClientContext(round, client, result))
        progress.take_in(round.results)
        call.round_trained(round)
        if evaluate_at == "trained":
            score(number + 1)

        uploads = dict(sorted(progress.uploads.items()))  # of absent clients the last one
        downloads = method.aggregate(number, uploads, on_engine) if round.has_uploads else {}
        round.received = progress.deliver(downloads, round.participants)
        progress.server = method.server_state()
        progress.rounds_done = number + 1
        call.round_aggregated(round)
        if evaluate_at == "aggregated" or also_aggregated:
            score(number + 1, "aggregated")
        call.round_finished(round)
    call.run_finished(run)
    return progress


def on_workers(engine: Engine, method: Method, works: Sequence[Work]) -> list[Any]:
    """The results of a server's works, in order; the engine's workers do them with their own instances of the
    method."""
    found = dict(engine.run([ServerTask(work) for work in works]))
    return [found[index] for index in range(len(works))]


def local_training(engine: Engine, round: RoundContext) -> Iterator[tuple[Client, LocalResult]]:
    """(client, its result) of every participant that has not trained in this round yet, as each is done. Of a method
    with `pooled`, the first client of a backbone trains; the others take over its state."""
    federation, progress, pooled = round.run.federation, round.run.progress, round.run.method.pooled
    first = {client.id: federation.peers(client.id)[0] for client in federation.clients}
    jobs = [
        Job(
            client,
            round.number,
            progress.states[client.id],
            progress.downloads.get(client.id),
            weight=federation.architecture(client.id).num_layers,
            counted=client.id in round.counted,
        )
        for client in federation.clients
        if client.id in round.participants and client.id not in round.results
        if not pooled or client.id == first[client.id]
    ]
    for index, result in engine.run(jobs):
        client = jobs[index].client
        check_finite(client.id, result.state)
        check_finite(client.id, result.upload.tensors if result.upload else {})
        yield client, result
    for client in federation.clients if pooled else ():
        if client.id in round.participants and client.id not in round.results:
            yield client, LocalResult(round.results[first[client.id]].state, None, {})


def check_finite(client: int, tensors: Mapping[str, Tensor]) -> None:
    """DrakeError with the client's number when a tensor holds NaN or infinity: aggregated, it would spoil everyone."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DrakeError(
                f"client {client} has NaN or infinite values in {name}; its training has diverged: "
                "lower the learning rate."
            )

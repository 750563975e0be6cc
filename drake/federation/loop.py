"""The round loop: train, upload, mix, download, evaluate. The whole protocol is on this page."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence

import torch

from drake.engines.tasks import Engine, Job
from drake.errors import DrakeError
from drake.federation.checkpoint import Checkpoints, Progress
from drake.federation.communication import traffic
from drake.federation.method import Federation, Method
from drake.federation.participation import EVERYONE, Attendance


class Observer:
    """What a run tells while it runs; every hook may be overridden, none changes the run.

    `checkpoints`, where there are any, keep the state: of every client that has trained, and of every round.
    """

    checkpoints: Checkpoints | None = None

    def round_started(self, round: int, present: frozenset[int], done: Mapping[int, float | None]) -> None:
        """Who takes part in the round, and the losses of those whose results were stored before the run was stopped."""

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        """A client has trained; loss is None when nothing had arrived for it."""

    def mixed(self, rounds_done: int, method: Method) -> None:
        """The server has mixed; the moment to keep what `method.observed()` shows."""

    def round_done(self, progress: Progress) -> None:
        """The server has mixed, every client has its download, and `progress` is stored."""


def run_rounds(
    engine: Engine,
    evaluate: Callable[[int, Progress], None],
    evaluation_rounds: Sequence[int],
    progress: Progress,
    observer: Observer,
    attendance: Attendance = EVERYONE,
) -> Progress:
    """Bring `progress` to the last round. `evaluate(rounds done, progress)` is called after each round in
    `evaluation_rounds`; a resumed run skips what its progress already holds."""
    worker = engine.worker
    method, federation = worker.method, worker.federation
    for client in federation.clients:
        if client.id not in progress.states:
            progress.states[client.id] = worker.initial_state(client)
    method.restore(progress.server)

    checkpoints = observer.checkpoints
    for round in range(progress.rounds_done, federation.rounds):
        results, before = checkpoints.clients(round) if checkpoints else ({}, 0.0)
        started = time.perf_counter() - before
        present = attendance.present(federation, round)
        observer.round_started(round, present, {i: found.stats.get("loss") for i, found in sorted(results.items())})
        for client_id in sorted(progress.waiting.keys() & present):
            progress.receive(round, client_id, progress.waiting.pop(client_id))
        counted = _to_be_counted(federation, round, present, progress)
        jobs = [
            Job(
                client,
                round,
                progress.states[client.id],
                progress.downloads.get(client.id),
                weight=federation.architectures[client.backbone].num_layers * (COUNTING if client.id in counted else 1),
                counted=client.id in counted,
            )
            for client in federation.clients
            if client.id in present and client.id not in results
        ]
        for index, result in engine.run(jobs):
            client_id = jobs[index].client.id
            check_finite(client_id, result.state)
            results[client_id] = result
            if checkpoints:
                last = result.upload or progress.uploads.get(client_id)
                checkpoints.keep_client(round, client_id, result, last, time.perf_counter() - started)
            observer.client_done(round, client_id, result.stats.get("loss"))
        losses = {}
        for client_id, result in sorted(results.items()):  # whatever order the engine finished them in
            progress.states[client_id] = result.state
            if result.upload is not None:
                check_finite(client_id, result.upload.tensors)
                progress.uploads[client_id] = result.upload
                progress.ledger += traffic(round, client_id, "up", result.upload)
            if "loss" in result.stats:
                losses[client_id] = result.stats["loss"]
            progress.spent(federation.clients[client_id].backbone, result.stats)
        progress.losses.append(losses)

        uploads = dict(sorted(progress.uploads.items()))
        heard = any(result.upload is not None for result in results.values())
        mixing = time.perf_counter()
        downloads = method.mix(round, uploads, federation) if heard else {}
        progress.seconds_mix += time.perf_counter() - mixing
        progress.server = method.server_state()
        for client_id, download in sorted(downloads.items()):
            if client_id in present:
                progress.receive(round, client_id, download)
            else:
                progress.waiting[client_id] = download
        progress.rounds_done = round + 1
        progress.seconds_train += time.perf_counter() - started

        if heard:
            observer.mixed(progress.rounds_done, method)
        if progress.rounds_done in evaluation_rounds:
            started = time.perf_counter()
            evaluate(progress.rounds_done, progress)
            progress.seconds_eval += time.perf_counter() - started
        if checkpoints:
            checkpoints.keep_round(progress)
        observer.round_done(progress)
    return progress


COUNTING = 4
"""How many times as long a round takes that is done once more with its operations counted."""


def _to_be_counted(federation: Federation, round: int, present: Container[int], progress: Progress) -> set[int]:
    """One client of every backbone whose operations are not known: one that has a download, where the server gives
    any, and so in no first round, unless there is no other."""
    if round < min(1, federation.rounds - 1):
        return set()
    first: dict[str, int] = {}
    for client in federation.clients:
        usual = client.id in progress.downloads or not progress.downloads or round == federation.rounds - 1
        if usual and client.id in present and client.backbone not in progress.per_token:
            first.setdefault(client.backbone, client.id)
    return set(first.values())


def check_finite(client: int, tensors: Mapping[str, torch.Tensor]) -> None:
    """DrakeError with the client's number when a tensor holds NaN or infinity: mixed in, it would spoil everyone."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DrakeError(
                f"client {client} has NaN or infinite values in {name}; its training has diverged: "
                "lower the learning rate."
            )

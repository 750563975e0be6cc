"""What happens while a run runs. A `Callback` is called at each of these moments with one argument, the context.

    class Patience(Callback):
        def client_trained(self, client):
            print(client.round.number, client.client.id, client.loss)

Callbacks read everything and change nothing of the run, but for those of drake that keep its state and its measurements
(`checkpoint`, `measurements`). They are called in the order in which they are given, in the process of the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.federation.federation import Client, Federation
from drake.federation.messages import Download, LocalResult
from drake.federation.state import Progress

if TYPE_CHECKING:
    from drake.federation.method import Method


@dataclass
class RunContext:
    """One seed of a run. name: of the method, as it was asked for. config: everything that decides the result, as plain
    values. folder: the run folder, which all its seeds share; None where nothing is stored."""

    federation: Federation
    method: Method
    progress: Progress = field(default_factory=Progress)
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def seed(self) -> int:
        """The seed of everything drawn at random."""
        return self.federation.seed


@dataclass
class RoundContext:
    """One round. number: from 0. participants: the clients whose work counts.

    received: at `round_started` the downloads that had waited for clients that were absent, at `round_aggregated` the
    new ones of the participants. results: of the clients that have trained; at `round_started` those that were stored
    before the run was stopped. counted: the clients whose floating point operations are counted. seconds: how long the
    round's training has lasted so far.
    """

    run: RunContext
    number: int
    participants: frozenset[int]
    received: dict[int, Download] = field(default_factory=dict)
    results: dict[int, LocalResult] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    seconds: float = 0.0

    @property
    def has_uploads(self) -> bool:
        """Whether any client has sent something in this round; if none has, the server does not aggregate."""
        return any(result.upload is not None for result in self.results.values())


@dataclass(frozen=True)
class ClientContext:
    """One client's local training of one round is over."""

    round: RoundContext
    client: Client
    result: LocalResult

    @property
    def loss(self) -> float | None:
        """Its mean loss; None when no data had arrived for it."""
        return self.result.stats.get("loss")


@dataclass(frozen=True)
class EvaluationContext:
    """One evaluation point. rounds_done: after how many rounds, 0 for the bare backbones. answered, total: how many
    answers there are so far and in the end. scores: name -> value of the averages over all points so far ("self_last",
    ...); empty before they are known, and at point 0."""

    run: RunContext
    rounds_done: int
    answered: int = 0
    total: int = 0
    scores: Mapping[str, float | None] = field(default_factory=dict)


class Callback:
    """Every hook may be overridden; the default does nothing."""

    def run_started(self, run: RunContext) -> None:
        """A seed begins, or goes on after `run.progress.rounds_done` rounds."""

    def round_started(self, round: RoundContext) -> None:
        """The participants of the round are known; none of them trains yet."""

    def client_trained(self, client: ClientContext) -> None:
        """A client has trained, in whatever order they finish; not called for those stored before the run was
        stopped."""

    def round_trained(self, round: RoundContext) -> None:
        """All participants have trained; the server has not aggregated yet."""

    def round_aggregated(self, round: RoundContext) -> None:
        """The server has aggregated, or had nothing to (`round.has_uploads`), and participants have their downloads."""

    def answered(self, evaluation: EvaluationContext) -> None:
        """An evaluation begins (`answered` is 0), or more of its answers are there."""

    def evaluated(self, evaluation: EvaluationContext) -> None:
        """An evaluation point is scored."""

    def round_finished(self, round: RoundContext) -> None:
        """Everything of the round is over; its state is stored."""

    def run_finished(self, run: RunContext) -> None:
        """The last round of the seed is over."""


class CallbackList(Callback):
    """Several callbacks as one: each hook calls theirs in order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = tuple(callbacks)

    def run_started(self, run: RunContext) -> None:
        for callback in self.callbacks:
            callback.run_started(run)

    def round_started(self, round: RoundContext) -> None:
        for callback in self.callbacks:
            callback.round_started(round)

    def client_trained(self, client: ClientContext) -> None:
        for callback in self.callbacks:
            callback.client_trained(client)

    def round_trained(self, round: RoundContext) -> None:
        for callback in self.callbacks:
            callback.round_trained(round)

    def round_aggregated(self, round: RoundContext) -> None:
        for callback in self.callbacks:
            callback.round_aggregated(round)

    def answered(self, evaluation: EvaluationContext) -> None:
        for callback in self.callbacks:
            callback.answered(evaluation)

    def evaluated(self, evaluation: EvaluationContext) -> None:
        for callback in self.callbacks:
            callback.evaluated(evaluation)

    def round_finished(self, round: RoundContext) -> None:
        for callback in self.callbacks:
            callback.round_finished(round)

    def run_finished(self, run: RunContext) -> None:
        for callback in self.callbacks:
            callback.run_finished(run)

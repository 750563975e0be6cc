"""What a run tells while it runs, and who listens: a file of events, TensorBoard; the command line draws its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drake.common.files import writing
from drake.errors import DrakeError
from drake.results import SCALARS, SeedSummary
from drake.runs.setup import Setup

EVENTS = "events.jsonl"
"""The file of events in a run folder."""


class Reporter:
    """What a run tells while it runs; the command line draws it, the default is silent."""

    def started(self, setup: Setup) -> None:
        """Everything is loaded and checked; the work begins."""

    def seed_started(self, seed: int, rounds_done: int) -> None:
        """A seed begins, or goes on after `rounds_done` rounds."""

    def round_started(self, round: int, present: frozenset[int], done: Mapping[int, float | None]) -> None:
        """The clients `present` train in `round`, counted from 0; `done` are the losses of those who had when the run
        was stopped, for whom no `client_done` follows."""

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        """A client has trained in `round`, counted from 0; loss is None when nothing had arrived for it."""

    def round_done(self, rounds_done: int) -> None:
        """The server has mixed, and the state is stored."""

    def evaluating(self, round: int, total: int) -> None:
        """An evaluation point begins; `total` answers will be generated."""

    def answered(self, count: int) -> None:
        """So many more answers are there."""

    def evaluated(self, round: int, summary: SeedSummary | None) -> None:
        """A point is scored; `summary` covers all points so far, None for zero-shot (round 0)."""


class Several(Reporter):
    """Tells several reporters, in their order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def _tell(self, event: str, *news: Any) -> None:
        for reporter in self._reporters:
            getattr(reporter, event)(*news)

    def started(self, setup: Setup) -> None:
        self._tell("started", setup)

    def seed_started(self, seed: int, rounds_done: int) -> None:
        self._tell("seed_started", seed, rounds_done)

    def round_started(self, round: int, present: frozenset[int], done: Mapping[int, float | None]) -> None:
        self._tell("round_started", round, present, done)

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        self._tell("client_done", round, client, loss)

    def round_done(self, rounds_done: int) -> None:
        self._tell("round_done", rounds_done)

    def evaluating(self, round: int, total: int) -> None:
        self._tell("evaluating", round, total)

    def answered(self, count: int) -> None:
        self._tell("answered", count)

    def evaluated(self, round: int, summary: SeedSummary | None) -> None:
        self._tell("evaluated", round, summary)


class Events(Reporter):
    """One line of JSON per event, added to a file as it happens: {"time", "event", "seed", ...}, rounds from 1.

    A run that goes on adds to what is there, so a round that was broken off is there twice. A line that a kill cut off
    is ended first; whoever reads should skip a line that is no JSON.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seed: int | None = None
        with writing(path), path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read() != b"\n":
                    file.write(b"\n")

    def _add(self, event: str, **news: Any) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "seed": self._seed} | news
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def started(self, setup: Setup) -> None:
        self._add("started", method=setup.config.method, rounds=setup.rounds, clients=len(setup.clients))

    def seed_started(self, seed: int, rounds_done: int) -> None:
        self._seed = seed
        self._add("seed started", rounds_done=rounds_done)

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        self._add("client done", round=round + 1, client=client, loss=loss)

    def round_done(self, rounds_done: int) -> None:
        self._add("round done", round=rounds_done)

    def evaluating(self, round: int, total: int) -> None:
        self._add("evaluation started", round=round, answers=total)

    def evaluated(self, round: int, summary: SeedSummary | None) -> None:
        scores = {} if summary is None else {name: getattr(summary, name) for name in SCALARS}
        self._add("evaluated", round=round, **scores)


class TensorBoard(Reporter):
    """Losses by client and the averages of every evaluation, for `tensorboard --logdir RUN/tensorboard`.

    Raises DrakeError where the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise DrakeError("TensorBoard is not installed; pip install 'drake-bench[tensorboard]'.") from None
        self._folder, self._make, self._writer = folder, SummaryWriter, None

    def seed_started(self, seed: int, rounds_done: int) -> None:
        self._writer = self._make(str(self._folder / f"seed-{seed}"), purge_step=rounds_done + 1)

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        if loss is not None:
            self._writer.add_scalar(f"loss/client {client}", loss, round + 1)

    def evaluated(self, round: int, summary: SeedSummary | None) -> None:
        for name in SCALARS if summary is not None else ():
            if (value := getattr(summary, name)) is not None:
                self._writer.add_scalar(f"score/{name}", value, round)
        self._writer.flush()

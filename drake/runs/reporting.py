"""Callbacks that tell a run's news to a file or to an experiment tracker; the command line draws its own."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from drake.common.files import writing
from drake.errors import DrakeError
from drake.federation.callbacks import Callback, ClientContext, EvaluationContext, RoundContext, RunContext

EVENTS = "events.jsonl"
"""The file of events in a run folder."""


class Events(Callback):
    """One line of JSON per event, added to a file as it happens: {"time", "event", "seed", ...}, rounds from 1.

    A run that goes on adds to what is there, so a round that was broken off is there twice. A line that a kill cut off
    is ended first; whoever reads should skip a line that is no JSON.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = False
        with writing(path), path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read() != b"\n":
                    file.write(b"\n")

    def _add(self, event: str, seed: int | None, **news: Any) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "seed": seed} | news
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def run_started(self, run: RunContext) -> None:
        if not self._started:
            federation, self._started = run.federation, True
            self._add("started", None, method=run.name, rounds=federation.rounds, clients=len(federation.clients))
        self._add("seed started", run.seed, rounds_done=run.progress.rounds_done)

    def client_trained(self, client: ClientContext) -> None:
        round = client.round
        self._add("client done", round.run.seed, round=round.number + 1, client=client.client.id, loss=client.loss)

    def round_finished(self, round: RoundContext) -> None:
        self._add("round done", round.run.seed, round=round.number + 1)

    def answered(self, evaluation: EvaluationContext) -> None:
        if not evaluation.answered:
            seed = evaluation.run.seed
            self._add("evaluation started", seed, round=evaluation.rounds_done, answers=evaluation.total)

    def evaluated(self, evaluation: EvaluationContext) -> None:
        self._add("evaluated", evaluation.run.seed, round=evaluation.rounds_done, **evaluation.scores)


class Tracker(Callback):
    """Losses by client and the averages of every evaluation, for an experiment tracker. Steps are rounds, from 1."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send named values of one step."""

    def client_trained(self, client: ClientContext) -> None:
        if client.loss is not None:
            self.log({f"loss/client {client.client.id}": client.loss}, client.round.number + 1)

    def evaluated(self, evaluation: EvaluationContext) -> None:
        known = {f"score/{name}": value for name, value in evaluation.scores.items() if value is not None}
        if known:
            self.log(known, evaluation.rounds_done)


class TensorBoard(Tracker):
    """For `tensorboard --logdir RUN/tensorboard`. folder: default: that one.

    Raises DrakeError where the package tensorboard is not installed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._make = _package("torch.utils.tensorboard", "TensorBoard", "tensorboard").SummaryWriter
        self._folder = folder

    def run_started(self, run: RunContext) -> None:
        folder = self._folder or (run.folder or Path()) / "tensorboard"
        self._writer = self._make(str(folder / f"seed-{run.seed}"), purge_step=run.progress.rounds_done + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def evaluated(self, evaluation: EvaluationContext) -> None:
        super().evaluated(evaluation)
        self._writer.flush()

    def run_finished(self, run: RunContext) -> None:
        self._writer.close()


class WandB(Tracker):
    """Weights & Biases: a run for each seed, in the project $WANDB_PROJECT or "drake", grouped by run folder. What
    goes on after a stop is a further run there.

    Raises DrakeError where the package wandb is not installed.
    """

    def __init__(self) -> None:
        self._wandb = _package("wandb", "Weights & Biases", "wandb")

    def run_started(self, run: RunContext) -> None:
        group = _group(run)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "drake"),
            group=group,
            name=f"{group} seed {run.seed}",
            config={**run.config, "seed": run.seed},
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def run_finished(self, run: RunContext) -> None:
        self._run.finish()


class Trackio(Tracker):
    """Trackio: a run for each seed, in the project $TRACKIO_PROJECT or "drake", grouped by run folder. What goes on
    after a stop is a further run there.

    Raises DrakeError where the package trackio is not installed.
    """

    def __init__(self) -> None:
        self._trackio = _package("trackio", "Trackio", "trackio")

    def run_started(self, run: RunContext) -> None:
        group = _group(run)
        self._trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "drake"),
            group=group,
            name=f"{group} seed {run.seed}",
            config={**run.config, "seed": run.seed},
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(values), step=step)

    def run_finished(self, run: RunContext) -> None:
        self._trackio.finish()


def _group(run: RunContext) -> str:
    return run.folder.name if run.folder is not None else run.name


def _package(module: str, title: str, extra: str) -> Any:
    """The module of an optional dependency; DrakeError where it is missing."""
    try:
        return import_module(module)
    except ImportError:
        raise DrakeError(f"{title} is not installed; pip install 'drake-bench[{extra}]'.") from None

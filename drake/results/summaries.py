"""From scores to averages: the score table of one seed, its averages, and estimates over seeds. All are fractions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drake.errors import DrakeError
from drake.results.schema import SCALARS, ClientInfo, Estimate, SeedRun, SeedSummary
from drake.scoring.answers import PROTOCOLS, Protocol


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """a[t,i,k]: the score of client i's model on task k at evaluation point t, with the facts that averages need.

    values: [T, N, K] float64, NaN where not evaluated.
    tasks: the K task ids. A task that no client owns is an unseen one.
    own: per client its task ids in order of arrival.
    begun: per point the tasks that some client has started to train on (in static splits all of them).
    rounds: rounds completed at each point, ascending; 0 is the zero-shot point, which enters no average.
    trained: whether the rounds are of a training; without one there is no curve over time, so no A_AUC.
    Raises DrakeError where these do not fit together.
    """

    values: NDArray[np.float64]
    tasks: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    begun: tuple[frozenset[str], ...]
    rounds: tuple[int, ...]
    trained: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        shape = (len(self.rounds), len(self.own), len(self.tasks))
        if self.values.shape != shape:
            raise DrakeError(
                f"scores have shape {self.values.shape}, but points x clients x tasks are {shape}; evaluate again."
            )
        if len(self.begun) != len(self.rounds):
            raise DrakeError(f"{len(self.begun)} sets of begun tasks for {len(self.rounds)} evaluation points.")
        known = set(self.tasks)
        if len(known) < len(self.tasks):
            raise DrakeError("a task has two columns in the scores; keep one.")
        for name in {name for group in (*self.own, *self.begun) for name in group} - known:
            raise DrakeError(f"task {name!r} has no column in the scores; evaluate it or leave it out.")
        if list(self.rounds) != sorted(set(self.rounds)) or (self.rounds and self.rounds[0] < 0):
            raise DrakeError(f"rounds of the evaluation points must ascend from 0 on, not {self.rounds}.")


def score_table(run: SeedRun, protocol: Protocol, clients: Sequence[ClientInfo]) -> ScoreTable:
    """The scores of one seed by one protocol, without the zero-shot point; null becomes NaN."""
    shape = (len(run.rounds), len(clients), len(run.tasks))
    return ScoreTable(
        values=np.array(run.scores[protocol], dtype=np.float64).reshape(shape),
        tasks=tuple(run.tasks),
        own=tuple(tuple(client.tasks) for client in clients),
        begun=tuple(frozenset(point) for point in run.begun),
        rounds=tuple(run.rounds),
        trained=bool(run.train_loss),
    )


def seed_summary(scores: ScoreTable) -> SeedSummary:
    """a[t,i,k] -> Self and Others, A_last and A_AUC, fairness and forgetting.

    Self_t is the mean over clients i of the mean over the tasks of i that have begun by t, Others_t the same over the
    tasks of all other clients that i does not have too; A_last is the value at the last point, A_AUC the mean over the
    points. A missing score makes every average over it None. Raises DrakeError without clients
    or without any point after training.
    """
    points = [t for t, done in enumerate(scores.rounds) if done > 0]
    if not points or not scores.own:
        raise DrakeError("the scores hold no client or no evaluation point after training; nothing to summarise.")
    per_point = [_self_and_others(scores, t) for t in points]
    self_curve = [_mean(own) for own, _ in per_point]
    others_curve = [_mean(others) for _, others in per_point]
    clients_last = np.array(per_point[-1][0])
    unseen = _columns(scores, set(scores.tasks) - {task for own in scores.own for task in own})
    # np.sort puts NaN last, where a gap would hide from the lowest tenth
    tenth = np.sort(clients_last)[: math.ceil(len(clients_last) / 10)]
    return SeedSummary(
        self_last=_known(self_curve[-1]),
        self_auc=_known(_mean(self_curve)) if scores.trained else None,
        others_last=_known(others_curve[-1]),
        others_auc=_known(_mean(others_curve)) if scores.trained else None,
        clients_std=_known(float(np.std(clients_last))),
        worst_decile=None if np.isnan(clients_last).any() else _known(_mean(tenth)),
        forgetting=_known(_forgetting(scores, points)),
        unseen_last=_known(_mean(scores.values[points[-1]][:, unseen].ravel())),
        clients_last=[_known(score) for score in clients_last.tolist()],
        self_curve=[_known(score) for score in self_curve],
        others_curve=[_known(score) for score in others_curve],
    )


def aggregate(runs: Sequence[SeedRun]) -> dict[Protocol, dict[str, Estimate]]:
    """Mean and standard error over seeds of every single number of the summaries; empty for no runs."""
    runs = [run for run in runs if run.summary]
    if not runs:
        return {}
    return {
        protocol: {name: estimate([getattr(run.summary[protocol], name) for run in runs]) for name in SCALARS}
        for protocol in PROTOCOLS
    }


def estimate(values: Iterable[float | None]) -> Estimate:
    """Mean and standard error of the values that are not None."""
    known = [value for value in values if value is not None]
    if not known:
        return Estimate(mean=None, stderr=None, n=0)
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else None
    return Estimate(mean=_mean(known), stderr=error, n=len(known))


def _self_and_others(scores: ScoreTable, point: int) -> tuple[list[float], list[float]]:
    """Per client the mean over its own and over all other clients' begun tasks at a point."""
    own_means: list[float] = []
    others_means: list[float] = []
    for client, own in enumerate(scores.own):
        others = {task for j, tasks in enumerate(scores.own) if j != client for task in tasks} - set(own)
        row = scores.values[point, client]
        own_means.append(_mean(row[_columns(scores, set(own) & scores.begun[point])]))
        others_means.append(_mean(row[_columns(scores, others & scores.begun[point])]))
    return own_means, others_means


def _forgetting(scores: ScoreTable, points: Sequence[int]) -> float:
    """Mean over clients of the mean over own tasks of (best earlier score since the task began) - (last score)."""
    *earlier, last = points
    per_client: list[float] = []
    for client, own in enumerate(scores.own):
        losses: list[float] = []
        for k in _columns(scores, set(own)):
            past = [float(scores.values[t, client, k]) for t in earlier if scores.tasks[k] in scores.begun[t]]
            seen = [score for score in past if not math.isnan(score)]
            if seen:
                losses.append(max(seen) - float(scores.values[last, client, k]))
        if losses:
            per_client.append(_mean(losses))
    return _mean(per_client)


def _columns(scores: ScoreTable, wanted: set[str]) -> list[int]:
    return [k for k, task in enumerate(scores.tasks) if task in wanted]


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """The mean; NaN, without a warning, when there is nothing to average."""
    return float(np.mean(values)) if len(values) else math.nan


def _known(value: float) -> float | None:
    """NaN becomes None: JSON knows no NaN."""
    return None if math.isnan(value) else value

"""Scoring room: from answers and a[t,i,k] to the numbers that are reported. Called by evaluate, results, plots, board.

Everything here is a fraction 0..1 and pure; percent is for what people read. NumPy only.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..errors import DrakeError

_ARTICLES = frozenset({"a", "an", "the"})
_MARK = re.escape(string.punctuation)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PUNCTUATION = re.compile(rf"(?<=\d)[{_MARK}](?=\d)|(?<!\w)[-.](?=\.?\d)|([{_MARK}])")
"""Group 1: punctuation that is no part of a number. The other two kinds are: between digits, and a sign or decimal
point before the first digit."""


def official_f1(pairs: Iterable[tuple[Iterable[int], Iterable[int]]]) -> float:
    """F1 of all open-ended answers of one task together, from pairs of (predicted ids, gold ids).

    Token ids count once per answer. As in the released code the counters of generated and matched ids start at 1
    and that of gold ids at 0, so the value is never 0 and can exceed 1 on tiny sets; 0.0 without any gold id.
    """
    gold_count, generated, matched = 0, 1, 1
    for predicted_ids, gold_ids in pairs:
        predicted, gold = set(predicted_ids), set(gold_ids)
        gold_count += len(gold)
        generated += len(predicted)
        matched += len(predicted & gold)
    if not gold_count:
        return 0.0
    precision, recall = matched / generated, matched / gold_count
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    """Lower-case words without punctuation, except the punctuation that numbers are spelled with: "1.5", "-5", "10:15".
    Commas that group thousands are removed."""
    text = _THOUSANDS.sub("", text.lower())
    return _PUNCTUATION.sub(lambda mark: "" if mark[1] else mark[0], text).split()


def token_f1(answer: str, gold: str) -> float:
    """Word-level F1 of one answer, after lower-casing and without punctuation and articles.

    A word counts as often as both sides hold it. Punctuation inside numbers and their sign stay, and articles count
    where the gold answer holds nothing else. 1.0 if both sides are empty after that, 0.0 if one is.
    """
    said, wanted = _words(answer), _words(gold)
    if not wanted or not set(wanted) <= _ARTICLES:
        said, wanted = ([word for word in side if word not in _ARTICLES] for side in (said, wanted))
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # here: it loads nltk, which most callers never need

    return RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(answer: str, gold: str) -> float:
    """ROUGE-L of one answer: the F-measure over the longest common subsequence of words, no stemming."""
    return float(_rouge().score(gold, answer)["rougeL"].fmeasure)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """a[t,i,k]: the score of client i's model on task k at evaluation point t, and what is needed to average it.

    values: [T, N, K] float64, NaN where not evaluated.
    tasks: the K task ids. A task that no client owns is an unseen one.
    own: per client its task ids in order of arrival.
    begun: per point the tasks that some client has started to train on (in static splits all of them).
    rounds: rounds completed at each point, ascending; 0 is the zero-shot point, which enters no average.
    Raises DrakeError where these do not fit together.
    """

    values: np.ndarray
    tasks: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    begun: tuple[frozenset[str], ...]
    rounds: tuple[int, ...]

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


@dataclass(frozen=True)
class Summary:
    """What is reported of a ScoreTable; fractions 0..1. NaN where a score that the number needs is missing.

    self_*, others_*: mean over clients of the mean over begun tasks, own or of all other clients. *_last at the last
    point, *_auc over all points, *_curve at each point (`rounds` gives their rounds; the zero-shot point is left out).
    clients_last: per client the mean over its own tasks at the last point, of which follow the fairness numbers:
    clients_std (population standard deviation) and worst_decile (mean over the lowest tenth, at least one client).
    forgetting: best earlier score since its task began minus the last, over own tasks with an earlier score.
    unseen_last: mean over clients and over the tasks that nobody owns, at the last point.
    """

    self_last: float
    self_auc: float
    others_last: float
    others_auc: float
    clients_std: float
    worst_decile: float
    forgetting: float
    unseen_last: float
    clients_last: tuple[float, ...]
    self_curve: tuple[float, ...]
    others_curve: tuple[float, ...]
    rounds: tuple[int, ...]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """The mean; NaN, without a warning, when there is nothing to average."""
    return float(np.mean(values)) if len(values) else math.nan


def _self_and_others(scores: ScoreTable, point: int) -> tuple[list[float], list[float]]:
    """Per client the mean over its own and over all other clients' begun tasks at a point."""
    own_means, others_means = [], []
    for client, own in enumerate(scores.own):
        others = {task for j, tasks in enumerate(scores.own) if j != client for task in tasks}
        row = scores.values[point, client]
        own_means.append(_mean(row[_columns(scores, set(own) & scores.begun[point])]))
        others_means.append(_mean(row[_columns(scores, others & scores.begun[point])]))
    return own_means, others_means


def _columns(scores: ScoreTable, wanted: set[str]) -> list[int]:
    return [k for k, task in enumerate(scores.tasks) if task in wanted]


def _forgetting(scores: ScoreTable, points: Sequence[int]) -> float:
    """Mean over clients of the mean over own tasks of (best earlier score since the task began) - (last score)."""
    *earlier, last = points
    per_client = []
    for client, own in enumerate(scores.own):
        losses = []
        for k in _columns(scores, set(own)):
            past = [scores.values[t, client, k] for t in earlier if scores.tasks[k] in scores.begun[t]]
            seen = [score for score in past if not math.isnan(score)]
            if seen:
                losses.append(max(seen) - scores.values[last, client, k])
        if losses:
            per_client.append(_mean(losses))
    return _mean(per_client)


def summarise(scores: ScoreTable) -> Summary:
    """a[t,i,k] -> Self and Others, A_last and A_AUC, fairness and forgetting.

    Self_t is the mean over clients i of the mean over the tasks of i that have begun by t, Others_t the same over the
    tasks of all other clients; A_last is the value at the last point, A_AUC the mean over the points. Nothing is
    averaged around a hole: a missing score makes every number that needs it NaN. Raises DrakeError without clients
    or without any point after training.
    """
    points = [t for t, done in enumerate(scores.rounds) if done > 0]
    if not points or not scores.own:
        raise DrakeError("the scores hold no client or no evaluation point after training; nothing to summarise.")
    per_point = [_self_and_others(scores, t) for t in points]
    self_curve = tuple(_mean(own) for own, _ in per_point)
    others_curve = tuple(_mean(others) for _, others in per_point)
    clients_last = np.array(per_point[-1][0])
    unseen = _columns(scores, set(scores.tasks) - {task for own in scores.own for task in own})
    # np.sort puts NaN last, where a hole would hide from the lowest tenth
    tenth = np.sort(clients_last)[: math.ceil(len(clients_last) / 10)]
    return Summary(
        self_last=self_curve[-1],
        self_auc=_mean(self_curve),
        others_last=others_curve[-1],
        others_auc=_mean(others_curve),
        clients_std=float(np.std(clients_last)),
        worst_decile=math.nan if np.isnan(clients_last).any() else _mean(tenth),
        forgetting=_forgetting(scores, points),
        unseen_last=_mean(scores.values[points[-1]][:, unseen].ravel()),
        clients_last=tuple(clients_last.tolist()),
        self_curve=self_curve,
        others_curve=others_curve,
        rounds=tuple(scores.rounds[t] for t in points),
    )


class OverSeeds(NamedTuple):
    """mean: over the seeds. standard_error: sample standard deviation over the root of their number; NaN for one."""

    mean: float
    standard_error: float


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean and standard error of one number over the seeds of an experiment."""
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return OverSeeds(_mean(values), spread)

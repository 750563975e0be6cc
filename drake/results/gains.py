"""What federation is worth: how many clients are better off than without it, the worst client, the mean over answers,
and which methods nobody beats at once in score, traffic and compute. Pure functions; scores are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drake.errors import DrakeError

Scores = Sequence[Sequence[float | None]] | NDArray[np.float64]
"""[S, N]: of seeds and clients."""


@dataclass(frozen=True)
class Share:
    """better of clients. low, high: the 95% interval of their share."""

    better: int
    clients: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """A fraction."""
        return self.better / self.clients


def better_off(method: Scores, alone: Scores, level: float = 0.05) -> Share:
    """How many clients score higher with a method than alone, in their mean over seeds; ties are not higher.

    method, alone: [S, N], the scores of the same clients with the same seeds. The interval is that of Clopper and
    Pearson (Biometrika 26, 1934), of clients as draws from a population. DrakeError for tables of other shapes, without
    a client or with gaps.
    """
    from scipy import special

    a, b = np.asarray(method, dtype=np.float64), np.asarray(alone, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or not a.size or np.isnan(a - b).any():
        raise DrakeError("clients are compared seed by seed; give the scores of the same seeds and clients, no gaps.")
    apart = (a - b).mean(axis=0)
    # A difference of rounding is none: means of equal scores in another order may differ in the last digit.
    count, number = int((apart > 1e-12).sum()), a.shape[1]
    # The bounds are quantiles of beta distributions.
    low = special.betaincinv(count, number - count + 1, level / 2) if count else 0.0
    high = special.betaincinv(count + 1, number - count, 1 - level / 2) if count < number else 1.0
    return Share(count, number, float(low), float(high))


def worst_client(clients: Sequence[float | None]) -> float | None:
    """The lowest score of one seed; None without clients or where one has no score."""
    known = [score for score in clients if score is not None]
    return min(known) if known and len(known) == len(clients) else None


def weighted_mean(scores: ArrayLike, answers: ArrayLike) -> NDArray[np.float64]:
    """[S]: mean of the scores [S, C] of cells (a client on a task), each counted as often as it has answers [C]."""
    return np.average(np.asarray(scores, dtype=np.float64), axis=1, weights=np.asarray(answers, dtype=np.float64))


def pareto_front(scores: Sequence[float | None], *costs: Sequence[float | None]) -> list[bool | None]:
    """For each of n methods, whether it is on the front: no other one has at least its score and at most each of its
    costs, and is better in one of them. None where a number is unknown; such a method beats nobody."""
    points: list[tuple[float, ...] | None] = []
    for score, *cost in zip(scores, *costs, strict=True):
        known = [value for value in cost if value is not None]
        points.append((-score, *known) if score is not None and len(known) == len(cost) else None)
    return [None if point is None else not any(_beats(other, point) for other in points) for point in points]


def _beats(a: tuple[float, ...] | None, b: tuple[float, ...]) -> bool:
    return a is not None and a != b and all(x <= y for x, y in zip(a, b, strict=True))

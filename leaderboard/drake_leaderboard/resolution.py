"""The resolution floor of a track: the smallest true difference between two methods that three seeds can show.

Scores of one seed share data order and initial weights, which move all methods together and cancel in a paired
difference. What is left is the residual of the additive model

    x[m, s] = method[m] + seed[s] + residual,      sigma^2 = sum of squares / ((methods - 1)(seeds - 1))

A difference of two means over n seeds then has the standard error sigma sqrt(2 / n), and the floor is the difference
that a two-sided t-test at the 5% level finds with a probability of 80% (noncentral t). Where a track has one method, or
methods without common seeds, sigma is the plain standard deviation over seeds, pooled over methods: an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy import special

from .entries import Row

SEEDS, LEVEL, POWER = 3, 0.05, 0.80


class Spread(NamedTuple):
    """sigma: standard deviation between seeds, a fraction. df: its degrees of freedom."""

    sigma: float
    df: int


def spread(rows: Sequence[Row], score: str) -> Spread | None:
    """Of a score (a field of SeedSummary) over the rows of a track; None where no row has two seeds."""
    found = [row.by_seed[score] for row in rows if len(row.by_seed.get(score, {})) > 1]
    if not found:
        return None
    common = sorted(reduce(lambda shared, seeds: shared & seeds.keys(), found, set(found[0])))
    if len(found) > 1 and len(common) > 1:
        x = np.array([[seeds[seed] for seed in common] for seeds in found])
        residual = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + x.mean()
        df = (len(found) - 1) * (len(common) - 1)
        return Spread(float(np.sqrt((residual**2).sum() / df)), df)
    values = [np.array(list(seeds.values())) for seeds in found]
    df = sum(len(x) - 1 for x in values)
    return Spread(float(np.sqrt(sum(((x - x.mean()) ** 2).sum() for x in values) / df)), df)


def smallest_difference(found: Spread, seeds: int = SEEDS, power: float = POWER) -> float:
    """The difference that `seeds` seeds show with probability `power`, in the unit of sigma."""
    critical = special.stdtrit(found.df, 1 - LEVEL / 2)
    noncentrality = special.nctdtrinc(found.df, 1 - power, critical)
    return float(noncentrality) * found.sigma * (2 / seeds) ** 0.5


def resolution(rows: Sequence[Row]) -> str:
    """The floor of a track's Self and Others A_last in one sentence; "" for published results."""
    if rows[0].track.published:
        return ""
    floors: list[str] = []
    for name, title in (("self_last", "Self A_last"), ("others_last", "Others A_last")):
        found = spread(rows, name)
        if found is None:
            return "Resolution floor: unknown, since no row has two seeds."
        floors.append(f"{100 * smallest_difference(found):.1f} points of {title}")
    return f"Resolution floor: {SEEDS} seeds show a difference of {' and '.join(floors)} with {POWER:.0%} power."

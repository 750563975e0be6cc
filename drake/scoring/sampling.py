"""Which test records of a task are scored. A pure function of the dataset, so that re-scoring finds the same ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from drake.common.seeds import python_random

Sample = Literal["first", "stratified"]
"""The first records of the dataset, or a sample that has every answer in its proportion."""

SAMPLE_SEED = 0
"""Of every sample: all runs on a dataset are scored on the same records, whatever their own seeds."""


def sampled_rows(answers: Sequence[str], count: int, sample: Sample, seed: int, task: str) -> list[int]:
    """The rows of the records that are scored, rising. A smaller count gives a part of what a larger one gives.

    answers: the gold answer of every test record of `task`. count: how many; 0, or more than there are: all.
    Stratified: the records of every answer are shuffled and spread evenly over one order, whose first
    `count` are taken.
    """
    if not 0 < count < len(answers):
        return list(range(len(answers)))
    if sample == "first":
        return list(range(count))
    rng = python_random(seed, "test sample", task)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, answer in enumerate(answers):
        groups[answer].append(row)
    places: list[tuple[float, float, int]] = []
    for _, rows in sorted(groups.items()):
        rng.shuffle(rows)
        places += [((number + 0.5) / len(rows), rng.random(), row) for number, row in enumerate(rows)]
    return sorted(row for _, _, row in sorted(places)[:count])

"""The answers of a submission as a whole: seeds that repeat each other, answers before training that differ, and
answers that another submission has too.

All comparisons are of what the answers say, not of the bytes of their files, which anybody can change. Rows must be in
the order in which drake writes them, so that answers to the same questions stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import pyarrow as pa

from drake.common.parquet import COMPUTE
from drake.results import Results
from drake.scoring.predictions import prediction_path, predictions_table

QUESTION = ("client", "task", "id")
MANY = 50
"""Answers from which on two seeds cannot all agree by chance."""
ALIKE = 0.95
"""Share of equal last answers above which it is said. Of the bundled submissions no two have more than 0.86; at earlier
points, where few steps were taken, related methods agree on up to 0.997."""


@dataclass(frozen=True)
class Answers:
    """The stored answers of a submission that was re-scored, so that every file is there and sound."""

    folder: Path
    results: Results
    _read: dict[tuple[int, int], pa.Table] = field(default_factory=dict[tuple[int, int], pa.Table])

    @cached_property
    def points(self) -> int:
        return len(self.results.runs[0].rounds)

    def table(self, seed: int, point: int) -> pa.Table:
        """The questions and texts of one file, in its order; read once."""
        if (seed, point) not in self._read:
            whole = predictions_table(prediction_path(self.folder, seed, point))
            self._read[seed, point] = whole.select([*QUESTION, "text"])
        return self._read[seed, point]

    def contradictions(self) -> Iterator[str]:
        """One sentence for each."""
        seeds = [run.seed for run in self.results.runs]
        columns = {task: number for number, task in enumerate(self.results.runs[0].tasks)}
        for seed in seeds:
            for point in range(self.points + 1):
                table = self.table(seed, point)
                keys = list(zip(*(table[name].to_pylist() for name in QUESTION), strict=True))
                if keys != sorted(keys, key=lambda key: (key[0], columns.get(key[1], 0), key[2])):
                    yield f"the answers of seed {seed}, point {point} are not in the order in which drake writes them"
                    return
        yield from self._before_training(seeds)
        for first, second in combinations(seeds, 2):
            same = [
                point for point in range(1, self.points + 1) if self.table(first, point) == self.table(second, point)
            ]
            if len(same) == self.points or any(len(self.table(first, point)) >= MANY for point in same):
                yield (
                    f"seeds {first} and {second} gave the same answers after training (point {same[0]}), which two "
                    "seeds do not"
                )
        losses = [run.train_loss for run in self.results.runs]
        for (one, first), (other, second) in combinations(zip(seeds, losses, strict=True), 2):
            if first == second and any(loss is not None for row in first for loss in row) and len(first) > 1:
                yield f"seeds {one} and {other} have the same losses in every round, which two seeds do not"

    def _before_training(self, seeds: list[int]) -> Iterator[str]:
        """Greedy answers of the same weights: the same for all seeds, and for all clients of a backbone."""
        first = self.table(seeds[0], 0)
        for seed in seeds[1:]:
            if self.table(seed, 0) != first:
                yield f"the answers before training of seeds {seeds[0]} and {seed} differ, but no seed matters then"
        said: dict[tuple[str, str], str] = {}
        models = self.results.models.per_client
        for client, id, text in zip(*(first[name].to_pylist() for name in ("client", "id", "text")), strict=True):
            if said.setdefault((models[client], id), text) != text:
                yield (
                    f"before training, client {client} answers {id} otherwise than another client of {models[client]}, "
                    "which has the same weights"
                )
                return

    def suspicions(self) -> Iterator[str]:
        """What no run shows, but nothing forbids: seeds that agree almost everywhere."""
        seeds = [run.seed for run in self.results.runs]
        for first, second in combinations(seeds, 2):
            share = _agreement(self.table(first, self.points), self.table(second, self.points))
            if share > ALIKE:
                yield f"seeds {first} and {second} give {100 * share:.1f}% of their last answers alike"

    def copied_from(self, other: Answers) -> Iterator[str]:
        """Where the last answers are those of another submission."""
        for run in self.results.runs:
            for theirs in other.results.runs:
                mine, found = self.table(run.seed, self.points), other.table(theirs.seed, other.points)
                share = _agreement(mine, found)
                if share > ALIKE:
                    yield (
                        f"{100 * share:.1f}% of the last answers of seed {run.seed} are those of seed {theirs.seed} of "
                        f"the submission {other.folder.name}"
                    )
                    return

    def other_start(self, other: Answers) -> Iterator[str]:
        """Where the bare backbones answer otherwise than in a submission with the same ones on the same data."""
        same = (
            self.results.models.revisions == other.results.models.revisions
            and self.results.models.per_client == other.results.models.per_client
            and self.results.data.fingerprint == other.results.data.fingerprint
            and self.results.environment.dtype == other.results.environment.dtype
        )
        mine, theirs = self.table(self.results.runs[0].seed, 0), other.table(other.results.runs[0].seed, 0)
        if same and mine.select([*QUESTION]) == theirs.select([*QUESTION]) and mine != theirs:
            share = _agreement(mine, theirs)
            yield (
                f"before training {100 * (1 - share):.2f}% of the answers are others than in the submission "
                f"{other.folder.name}, which has the same weights"
            )


def _agreement(mine: pa.Table, theirs: pa.Table) -> float:
    """The share of equal texts; 0 where other questions were asked."""
    if not len(mine) or mine.select([*QUESTION]) != theirs.select([*QUESTION]):
        return 0.0
    return float(COMPUTE.mean(COMPUTE.equal(mine["text"], theirs["text"]).cast(pa.float64())).as_py())

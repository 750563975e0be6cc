"""How many seeds and questions a difference between two methods needs, from two runs that are there.

The difference d[s, i] of two runs by seed and client (`comparison`) is a crossed two-way table with random effects,

    d[s, i] = mean + seed[s] + client[i] + rest[s, i],

whose variances follow from its mean squares. The questions of a client's tasks are a part of its effect (the same ones
are asked after every seed) and of the rest (the answers of one seed): asked m times as many, these parts are divided by
m, and so is what the choice of questions adds where several clients are asked the same ones. The difference that a
two-sided t-test at the level of `comparison` finds with the wanted power then follows from the noncentral t
distribution, with the degrees of freedom of Satterthwaite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from drake.errors import DrakeError
from drake.results.comparison import (
    LEAST_SEEDS,
    LEVEL,
    OFFSETS,
    Answers,
    Cell,
    Floats,
    asked_of_several,
    compare,
    question_variance,
)

MOST_SEEDS = 100
"""Beyond this number of seeds nobody waits for an answer."""


@dataclass(frozen=True)
class Components:
    """Variances of the difference of two runs, of fractions.

    seeds, clients, rest: of the effects above, with the questions of today. of_clients, of_rest: what the questions add
    to `clients` and to `rest`. number: of clients.
    """

    seeds: float
    clients: float
    rest: float
    of_clients: float
    of_rest: float
    number: int
    common: float = 0.0

    def smallest(self, seeds: int, times: float = 1.0, power: float = 0.8) -> float:
        """The smallest difference, a fraction, that so many seeds show with this power. times: how many times as many
        questions are asked as today."""
        kept = 1 - 1 / times
        clients = max(0.0, self.clients - self.of_clients * kept)
        rest = max(0.0, self.rest - self.of_rest * kept)
        of_seeds, of_clients = self.number * self.seeds + rest, seeds * clients + rest
        total = max(of_seeds + of_clients - rest, of_seeds, of_clients)
        variance = total / (seeds * self.number) + self.common / times
        if total == 0:
            return 0.0
        df = total**2 / (of_seeds**2 / (seeds - 1) + of_clients**2 / max(1, self.number - 1))
        critical = special.stdtrit(df, 1 - LEVEL / 2)
        return float(special.nctdtrinc(df, 1 - power, critical)) * variance**0.5

    def seeds_for(self, difference: float, times: float = 1.0, power: float = 0.8) -> int | None:
        """The least number of seeds that show this difference, a fraction; None where `MOST_SEEDS` do not."""
        if self.smallest(MOST_SEEDS, times, power) > difference:
            return None
        enough = (n for n in range(LEAST_SEEDS, MOST_SEEDS + 1) if self.smallest(n, times, power) <= difference)
        return next(enough, MOST_SEEDS)


def components(a: Answers, b: Answers) -> Components:
    """The variances of the difference of two runs. DrakeError where the runs have fewer than three seeds or two
    clients, or are not comparable (see `comparison.compare`)."""
    compare(a, b, resamples=2)  # refuses runs of different questions or seeds
    table = (a.means() - b.means()).T
    rows, columns = table.shape
    if rows < LEAST_SEEDS or columns < 2:
        raise DrakeError(
            f"a plan needs runs with at least {LEAST_SEEDS} seeds and two clients; these have {rows} and {columns}."
        )
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    of_rest = float((rest**2).sum()) / ((rows - 1) * (columns - 1))
    of_clients, of_answers = _of_questions(a, b)
    return Components(
        seeds=max(0.0, float(table.mean(1).var(ddof=1)) - of_rest / columns),
        clients=max(0.0, float(table.mean(0).var(ddof=1)) - of_rest / rows),
        rest=of_rest,
        of_clients=of_clients,
        of_rest=of_answers,
        number=columns,
        common=question_variance(a, b, 2000) if asked_of_several(a) else 0.0,
    )


def _of_questions(a: Answers, b: Answers) -> tuple[float, float]:
    """What the choice of questions adds to the variance of a client's effect, and of the rest, averaged over
    clients."""
    shared: dict[int, list[float]] = defaultdict(list)
    single: dict[int, list[float]] = defaultdict(list)
    for place, cell in a.cells.items():
        x = _by_question(cell) - _by_question(b.cells[place])  # [S, Q]
        seeds, questions = x.shape
        if questions < 2:
            raise DrakeError(f"task {place[1]} was asked a single question; a plan needs two or more of every task.")
        rest = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + x.mean()
        of_answer = float((rest**2).sum()) / ((seeds - 1) * (questions - 1))
        of_question = max(0.0, float(x.mean(0).var(ddof=1)) - of_answer / seeds)
        shared[place[0]].append(of_question / questions)
        single[place[0]].append(of_answer / questions)
    return _of_means(list(shared.values())), _of_means(list(single.values()))


def _of_means(by_client: Sequence[Sequence[float]]) -> float:
    """The variance of the mean over a client's tasks, whose variances are given, averaged over clients."""
    return float(np.mean([sum(tasks) / len(tasks) ** 2 for tasks in by_client]))


def _by_question(cell: Cell) -> Floats:
    """[S, Q]: what each question contributes to the score, linearised where the score is a ratio: their mean over
    questions is the score's deviation from itself, so only differences between questions mean anything."""
    scores = cell.score()[:, None]
    _, below = OFFSETS[cell.kind]
    count = cell.denominator.shape[1]
    mean = (below + cell.denominator.sum(1, keepdims=True)) / count
    found: Floats = (cell.numerator - scores * cell.denominator) / mean
    return found

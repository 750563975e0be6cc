"""Whether one method is better than another: paired differences of stored answers, with intervals.

The score of a client on a task is a ratio of sums over the questions (`Terms`), the score of a run their mean over
tasks and clients. Two runs of one track answered the same questions with the same seeds, so their difference d[s, i] is
taken seed by seed and client by client. Seeds and clients (with the tasks and questions they bring along) are both
samples, so the mean over them has the variance of a crossed two-way table with random effects,

    V = (MS_seeds + MS_clients - MS_rest) / (S N),

and its interval is Student's, with the degrees of freedom of Satterthwaite. A bootstrap over three seeds would be far
too narrow, and one over clients and their questions counts the questions twice. On the tasks of others, the same
questions are asked of many clients: what their choice adds to V comes from a bootstrap over the questions of every
task, the same draws for both runs and all clients. Differences of several pairs share the level by Holm's method.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from drake.errors import DrakeError
from drake.results.schema import Results
from drake.scoring.answers import Protocol
from drake.scoring.metrics import token_f1
from drake.scoring.predictions import Prediction, prediction_path, predictions_table

Side = Literal["self", "others"]
Floats = NDArray[np.float64]

LEAST_SEEDS = 3
"""With fewer seeds there is a difference, but no interval and no verdict."""
LEVEL = 0.05


class Terms(NamedTuple):
    """A score as a ratio of sums over questions: (offset + sum numerator) / (offset + sum denominator)."""

    numerator: float
    denominator: float


OFFSETS = {"mean": Terms(0, 0), "f1": Terms(2, 1)}
"""Of a mean over questions, and of the official F1, whose counters start at 1 (`drake.scoring.metrics.official_f1`):
F1 = 2 matched / (generated + gold)."""


def terms(row: Prediction, protocol: Protocol) -> tuple[str, Terms]:
    """The key of `OFFSETS` and what one answer adds to the sums, by its stored marks."""
    if row.correct is not None:
        return "mean", Terms(float(bool(row.correct if protocol == "official" else row.strict_correct)), 1)
    if protocol == "strict":
        return "mean", Terms(token_f1(row.text, row.gold), 1)
    predicted, gold = set(row.predicted_ids or ()), set(row.gold_ids or ())
    return "f1", Terms(2 * len(predicted & gold), len(predicted) + len(gold))


@dataclass(frozen=True)
class Cell:
    """The answers of one client to one task: sums over the seeds' questions, numerator and denominator [S, Q]."""

    kind: str
    ids: tuple[str, ...]
    numerator: Floats
    denominator: Floats

    def score(self, weights: Floats | None = None) -> Floats:
        """[S] of all questions once, or [B, S] where question q counts weights[b, q] times."""
        if weights is None:
            weights = np.ones((1, len(self.ids)))
            return self.score(weights)[0]
        above, below = OFFSETS[self.kind]
        found: Floats = (above + weights @ self.numerator.T) / (below + weights @ self.denominator.T)
        return found


@dataclass(frozen=True)
class Answers:
    """What a run answered at its last point, on its clients' own tasks or on those of the others. cells: by client
    and task."""

    name: str
    seeds: tuple[int, ...]
    clients: int
    cells: Mapping[tuple[int, str], Cell]

    def means(self, weights: Mapping[str, Floats] | None = None) -> Floats:
        """Mean over its tasks by client: [N, S], or [N, B, S] with weights [B, Q] of every task's questions."""
        by_client: dict[int, list[Floats]] = defaultdict(list)
        for (client, task), cell in self.cells.items():
            by_client[client].append(cell.score(None if weights is None else weights[task]))
        return np.stack([np.mean(by_client[client], axis=0) for client in sorted(by_client)])


@dataclass(frozen=True)
class Difference:
    """A minus B, as fractions.

    low, high: the interval at the level asked for; None with fewer than `LEAST_SEEDS` seeds, as are p and probability.
    p: two-sided. probability: that A is better. by_seed: [S].
    """

    a: str
    b: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    probability: float | None
    by_seed: tuple[float, ...]


def answers_of(folder: Path, results: Results, side: Side = "self", protocol: Protocol = "official") -> Answers:
    """The last point's stored answers of a complete run. DrakeError where files are missing or seeds differ in what
    they answered."""
    if results.status != "complete" or not results.runs:
        raise DrakeError(f"the run {folder} is {results.status}; finish it before it is compared.")
    owned = [set(client.tasks) for client in results.clients]
    of_clients = set().union(*owned)
    found: dict[tuple[int, str], dict[str, list[Terms]]] = defaultdict(lambda: defaultdict(list))
    kinds: dict[tuple[int, str], str] = {}
    for run in results.runs:
        asked = set(run.begun[-1]) & of_clients
        wanted = {(i, task) for i, own in enumerate(owned) for task in asked if (task in own) == (side == "self")}
        for client, task, id, (kind, term) in _marked(folder, run.seed, len(run.rounds), wanted, protocol):
            kinds[client, task] = kind
            found[client, task][id].append(term)
    cells: dict[tuple[int, str], Cell] = {}
    for place, questions in sorted(found.items()):
        if {len(terms) for terms in questions.values()} != {len(results.runs)}:
            raise DrakeError(f"the seeds of {folder} were not asked the same questions of {place[1]}; restore the run.")
        ids = tuple(sorted(questions))
        sums = np.array([questions[id] for id in ids], dtype=np.float64)  # [Q, S, 2]
        cells[place] = Cell(kinds[place], ids, sums[..., 0].T, sums[..., 1].T)
    return Answers(folder.name, tuple(run.seed for run in results.runs), len(owned), cells)


def _marked(
    folder: Path, seed: int, point: int, wanted: set[tuple[int, str]], protocol: Protocol
) -> Iterator[tuple[int, str, str, tuple[str, Terms]]]:
    """Client, task, question and `terms` of the answers of `wanted` clients and tasks. Texts and token ids, which take
    most of the time, are read of open-ended questions alone."""
    table = predictions_table(prediction_path(folder, seed, point))
    clients, tasks, ids = (table[name].to_pylist() for name in ("client", "task", "id"))
    marks = table["correct" if protocol == "official" else "strict_correct"].to_pylist()
    choices = table["correct"].to_pylist()
    kept = [row for row, place in enumerate(zip(clients, tasks, strict=True)) if place in wanted]
    opened = [row for row in kept if choices[row] is None]
    texts = table.take(np.array(opened, dtype=np.int64))  # of no row too, which a list would have no type for
    predictions = map(Prediction._make, zip(*(column.to_pylist() for column in texts.columns), strict=True))
    right, wrong = ("mean", Terms(1, 1)), ("mean", Terms(0, 1))
    for row in kept:
        found = terms(next(predictions), protocol) if choices[row] is None else right if marks[row] else wrong
        yield clients[row], tasks[row], ids[row], found


def with_seeds(answers: Answers, seeds: Sequence[int]) -> Answers:
    """The same of some of its seeds, in this order."""
    if tuple(seeds) == answers.seeds:
        return answers
    rows = [answers.seeds.index(seed) for seed in seeds]
    cells = {
        place: Cell(cell.kind, cell.ids, cell.numerator[rows], cell.denominator[rows])
        for place, cell in answers.cells.items()
    }
    return Answers(answers.name, tuple(seeds), answers.clients, cells)


def compare(a: Answers, b: Answers, resamples: int = 2000, level: float = LEVEL, seed: int = 0) -> Difference:
    """A minus B. resamples: of the questions, where several clients answered them. DrakeError where the runs were not
    asked the same questions with the same seeds."""
    if a.seeds != b.seeds:
        raise DrakeError(f"{a.name} has the seeds {a.seeds} and {b.name} {b.seeds}; compare runs with the same seeds.")
    if {place: cell.ids for place, cell in a.cells.items()} != {place: cell.ids for place, cell in b.cells.items()}:
        raise DrakeError(f"{a.name} and {b.name} did not answer the same questions; compare runs of one track.")
    apart = (a.means() - b.means()).T
    by_seed, mean = tuple(map(float, apart.mean(1))), float(apart.mean())
    if len(a.seeds) < LEAST_SEEDS:
        return Difference(a.name, b.name, mean, None, None, None, None, by_seed)
    variance, df = crossed_variance(apart)
    if asked_of_several(a):
        variance += question_variance(a, b, resamples, seed)
    if variance == 0:
        better = 0.5 if mean == 0 else float(mean > 0)
        return Difference(a.name, b.name, mean, mean, mean, float(mean == 0), better, by_seed)
    error = variance**0.5
    half, t = float(special.stdtrit(df, 1 - level / 2)) * error, mean / error  # of Student's t: quantile, below: cdf
    p, better = 2 * float(special.stdtr(df, -abs(t))), float(special.stdtr(df, t))
    return Difference(a.name, b.name, mean, mean - half, mean + half, p, better, by_seed)


def asked_of_several(answers: Answers) -> bool:
    """Whether several clients answered the questions of one task."""
    return len({task for _, task in answers.cells}) < len(answers.cells)


def crossed_variance(table: Floats) -> tuple[float, float]:
    """Variance of the mean of a table [S, N] whose rows and columns are both random, and its degrees of freedom
    (Satterthwaite, Biometrics Bulletin 2, 1946). One column: of the rows alone."""
    rows, columns = table.shape
    of_rows = columns * float(table.mean(1).var(ddof=1))
    if columns == 1:
        return of_rows / rows, rows - 1
    of_columns = rows * float(table.mean(0).var(ddof=1))
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    of_rest = float((rest**2).sum()) / ((rows - 1) * (columns - 1))
    # Never less than either alone: an estimate that is, is so by chance.
    total = max(of_rows + of_columns - of_rest, of_rows, of_columns)
    if total == 0:
        return 0.0, rows - 1
    df = total**2 / (of_rows**2 / (rows - 1) + of_columns**2 / (columns - 1))
    return total / (rows * columns), min(max(df, 1.0), rows * columns - 1)


def question_variance(a: Answers, b: Answers, resamples: int, seed: int = 0) -> float:
    """Variance of the mean difference over draws, with replacement, of the questions of every task."""
    rng = np.random.default_rng(seed)
    counts = {task: len(cell.ids) for (_, task), cell in a.cells.items()}
    drawn = {
        task: rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        for task, count in sorted(counts.items())
    }
    return float((a.means(drawn) - b.means(drawn)).mean((0, 2)).var(ddof=1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the chance of one false finding among all is below each."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate([min(1.0, (len(p) - rank) * p[place]) for rank, place in enumerate(order)])
    found = np.empty(len(p))
    found[order] = adjusted
    return [float(value) for value in found]


def all_pairs(answers: Sequence[Answers], resamples: int = 2000) -> list[Difference]:
    """Every pair in the order given, its p adjusted by Holm over all of them."""
    return adjusted([compare(a, b, resamples) for a, b in combinations(answers, 2)])


def adjusted(found: Sequence[Difference]) -> list[Difference]:
    """The differences with their p adjusted by Holm over all of them."""
    known = [difference.p for difference in found if difference.p is not None]
    values = iter(holm(known))
    return [
        difference if difference.p is None else Difference(**{**vars(difference), "p": next(values)})
        for difference in found
    ]


def groups(names: Sequence[str], differences: Sequence[Difference]) -> list[str]:
    """A letter or several for each name, best first: two methods share a letter if and only if they cannot be told
    apart at `LEVEL`.

    names: in the order of the board. differences: of all pairs, with adjusted p. As in a compact letter display
    (Piepho, J. Comput. Graph. Stat. 13, 2004), a letter stands for methods of which no pair differs, and every such
    pair has a letter in common. Pairs have errors of their own, so that a letter may skip a method: the first may
    differ from the second, whose scores vary little, and not from the third.
    """
    differ = {frozenset((d.a, d.b)) for d in differences if d.p is not None and d.p <= LEVEL}
    alike = [[frozenset((a, b)) not in differ for b in names] for a in names]
    sharing: list[list[int]] = []  # the places of the methods with each letter
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            if alike[first][second] and not any(first in places and second in places for places in sharing):
                places = [first, second]
                for other in range(first + 1, len(names)):
                    if other != second and all(alike[other][place] for place in places):
                        places.append(other)
                sharing.append(places)
        if not any(first in places for places in sharing):
            sharing.append([first])
    return ["".join(_letter(n) for n, places in enumerate(sharing) if k in places) for k in range(len(names))]


def letters_of(group: str) -> list[str]:
    """The letters of one method, as `groups` writes them: "ab(27)" -> a, b, (27)."""
    return re.findall(r"[a-z]|\(\d+\)", group)


def _letter(number: int) -> str:
    """a to z, then (27), (28), ..."""
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"

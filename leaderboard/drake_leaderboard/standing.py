"""What follows from a whole track and its stored answers: tie groups, gains over SFT, weighted means, the Pareto front.

    judged(board) -> the board with these in its rows, and a `ranking.Standing` for every track of runs

Answers are read once for each row, about 0.15 s for three seeds of the mini suite; `collect` needs none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from drake.errors import DrakeError
from drake.results import Estimate, estimate
from drake.results.comparison import (
    LEAST_SEEDS,
    LEVEL,
    Answers,
    Difference,
    adjusted,
    answers_of,
    compare,
    groups,
    with_seeds,
)
from drake.results.gains import Share, better_off, pareto_front, weighted_mean

from .entries import Row
from .names import REFERENCES
from .ranking import Board, Standing
from .reviewed import RERUN, RESCORED

MOST_ROWS = 40
"""The best rows of a track whose answers are read: 780 pairs."""
METRICS = {"mean": "accuracy", "f1": "token F1"}
"""Kind of a cell of answers -> the metric's name."""
COMPARED = {"accuracy", "token-F1"}
"""The metrics, as datasets name them, by which `drake.results.comparison` scores answers."""


def judged(board: Board) -> Board:
    """Read the stored answers of all tracks of runs and fill in what follows from them."""
    tables, standings = dict(board.tables), {}
    for track, rows in board.tables.items():
        if not track.published:
            tables[track], standings[track] = _judged(rows)
    return board._replace(tables=tables, standings=standings)


def _judged(rows: list[Row]) -> tuple[list[Row], Standing]:
    answers = _answers(rows)
    labels = unique_labels(rows)
    lettered = comparable(answers)
    pairs = list(combinations(lettered, 2))
    found = adjusted([_difference(answers[a], answers[b], labels[a], labels[b]) for a, b in pairs])
    letters = groups([labels[k] for k in lettered], found) if pairs else []
    group = dict(zip(lettered, letters, strict=False))
    fronts = _pareto(rows)
    filled = [
        replace(
            entry,
            group=group.get(k, ""),
            gain=_gain(k, rows, answers),
            better=_better(k, rows),
            weighted=_weighted(answers.get(k)),
            pareto=fronts[k],
        )
        for k, entry in enumerate(rows)
    ]
    metrics = next((metrics_sentence(found) for found in answers.values()), "")
    sentences = without_groups(rows) if not pairs else _ties(rows, lettered, len(pairs))
    return filled, Standing(metrics, sentences, found, labels)


def _answers(rows: Sequence[Row]) -> dict[int, Answers]:
    """Number of a row -> its answers, where they are there and sound. Of the best rows, and of SFT's."""
    found: dict[int, Answers] = {}
    for k, entry in enumerate(rows):
        if entry.folder is None or entry.run is None or (k >= MOST_ROWS and entry.method != "sft"):
            continue
        try:
            read = answers_of(entry.folder, entry.run)
        except DrakeError:  # a run without its answers has a row, and nothing that follows from answers
            continue
        if read.cells and _gives(read, entry):
            found[k] = read
    return found


def _gives(answers: Answers, entry: Row) -> bool:
    """Whether the answers give the row's scores; not where its tasks have other metrics than accuracy and token F1,
    which `comparison` does not know, nor where scores or answers were changed."""
    stored = [entry.clients.get(seed, ()) for seed in answers.seeds]
    found = answers.means().T
    return [len(seed) for seed in stored] == [found.shape[1]] * len(found) and all(
        score is not None and abs(score - other) < 1e-9
        for seed, others in zip(stored, found.tolist(), strict=True)
        for score, other in zip(seed, others, strict=True)
    )


def comparable(answers: Mapping[int, Answers]) -> list[int]:
    """The rows of which any two have three seeds in common and were asked the same questions, best first. Where not
    all rows fit together, those with the seeds that most rows have."""
    with_enough = [k for k, found in answers.items() if len(found.seeds) >= LEAST_SEEDS]
    often = Counter(frozenset(answers[k].seeds) for k in with_enough)
    chosen: list[int] = []
    for k in sorted(with_enough, key=lambda k: (-often[frozenset(answers[k].seeds)], k)):
        if all(
            len(common_seeds(answers[k].seeds, answers[other].seeds)) >= LEAST_SEEDS
            and _questions(answers[k]) == _questions(answers[other])
            for other in chosen
        ):
            chosen.append(k)
    return sorted(chosen)


def _questions(answers: Answers) -> dict[tuple[int, str], tuple[str, ...]]:
    return {place: cell.ids for place, cell in answers.cells.items()}


def common_seeds(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """In the order of their numbers."""
    return sorted(set(a) & set(b))


def _difference(a: Answers, b: Answers, name: str, other: str) -> Difference:
    seeds = common_seeds(a.seeds, b.seeds)
    found = compare(with_seeds(a, seeds), with_seeds(b, seeds))
    return replace(found, a=name, b=other)


def _counterpart(k: int, rows: Sequence[Row]) -> int | None:
    """The number of the SFT row that a row is held against: the one with the most of its seeds, among these the best
    checked one. None for SFT itself and where there is none."""
    if rows[k].method == "sft":
        return None
    trust = {RERUN: 2, RESCORED: 1}
    found = [
        (len(common_seeds(list(rows[k].clients), list(entry.clients))), trust.get(entry.checked, 0), -n)
        for n, entry in enumerate(rows)
        if entry.method == "sft"
    ]
    seeds, _, place = max(found, default=(0, 0, 0))
    return -place if seeds else None


def _gain(k: int, rows: Sequence[Row], answers: Mapping[int, Answers]) -> Difference | None:
    other = _counterpart(k, rows)
    if other is None or k not in answers or other not in answers:
        return None
    try:
        return _difference(answers[k], answers[other], rows[k].origin, rows[other].origin)
    except DrakeError:  # other questions: one of the folders was changed
        return None


def _better(k: int, rows: Sequence[Row]) -> Share | None:
    other = _counterpart(k, rows)
    if other is None:
        return None
    seeds = common_seeds(list(rows[k].clients), list(rows[other].clients))
    mine, alone = ([entry.clients[seed] for seed in seeds] for entry in (rows[k], rows[other]))
    if any(score is None for seed in (*mine, *alone) for score in seed):
        return None
    return better_off(mine, alone)


def _weighted(answers: Answers | None) -> Estimate | None:
    if answers is None:
        return None
    cells = list(answers.cells.values())
    scores = [cell.score() for cell in cells]  # [C, S]
    return estimate(weighted_mean(list(zip(*scores, strict=True)), [len(cell.ids) for cell in cells]).tolist())


def _pareto(rows: Sequence[Row]) -> list[bool | None]:
    """Of bytes, FLOPs and Self A_last; without methods that are no federation, whose server has all data."""
    scores = [None if entry.method in REFERENCES else entry.scores["self_last"].mean for entry in rows]
    return pareto_front(scores, [entry.upload for entry in rows], [entry.flops for entry in rows])


def metrics_sentence(answers: Answers) -> str:
    """ "Scores average accuracy on 38 tasks and token F1 on 2." of the tasks of a run."""
    kinds = {task: cell.kind for (_, task), cell in sorted(answers.cells.items())}
    counts = Counter(METRICS[kind] for kind in kinds.values())
    if len(counts) == 1:
        return f"Scores are {next(iter(counts))} on {len(kinds)} tasks."
    (first, many), *others = sorted(counts.items())
    rest = " and ".join(f"{name} on {count}" for name, count in others)
    return f"Scores average {first} on {many} tasks and {rest}."


def without_groups(rows: Sequence[Row]) -> str:
    """Why a track with several rows has no tie groups, where its metrics are the reason."""
    recorded = [entry.run.config.get("metrics") for entry in rows if entry.run is not None]
    metrics = {str(metric) for found in recorded if isinstance(found, list) for metric in found}
    if len(rows) < 2 or not (others := sorted(metrics - COMPARED)):
        return ""
    return (
        f"No tie groups: differences are computed from answers by accuracy and token F1, and tasks of this track are "
        f"scored by {', '.join(others)}."
    )


def _ties(rows: Sequence[Row], lettered: Sequence[int], pairs: int) -> str:
    missing = len(rows) - len(lettered)
    without = (
        f" {missing} rows have no letter: fewer than {LEAST_SEEDS} seeds in common with the others, no stored answers, "
        f"or a place after {MOST_ROWS}."
        if missing
        else ""
    )
    return (
        "Two rows share a letter if and only if they cannot be told apart in Self A_last (paired differences of "
        f"{pairs} pairs, Holm's correction, level {LEVEL:.0%}).{without}"
    )


def unique_labels(rows: Sequence[Row]) -> list[str]:
    """The method of each row; with the origin, and a number, where several rows would have the same."""
    methods = Counter(entry.display_name for entry in rows)
    labels = [
        entry.display_name if methods[entry.display_name] == 1 else f"{entry.display_name} ({entry.origin})"
        for entry in rows
    ]
    seen: Counter[str] = Counter()
    for k, label in enumerate(labels):
        seen[label] += 1
        if seen[label] > 1:
            labels[k] = f"{label} {seen[label]}"
    return labels

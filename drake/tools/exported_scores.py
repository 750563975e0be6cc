"""What a client's exported model scored: read from the results of its run and from the stored answers.

A model is exported as it is after the last round. Run by run, that is or is not the one that was scored at the last
evaluation point: with `evaluate_at` "trained", a client that gets something from the server is scored before it has.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from drake.results import FILE, Results, SeedRun, load
from drake.runs.evaluation import AGGREGATED
from drake.scoring.predictions import prediction_path, read_predictions


class TaskScores(NamedTuple):
    """One of the client's own tasks, at the last evaluation point. metric: "accuracy" or "token-F1". records: test
    records that were answered. official, strict: fractions, by either protocol. before: the official score of the bare
    backbone; None where it was not asked."""

    task: str
    metric: str
    records: int
    official: float
    strict: float
    before: float | None


class ClientScores(NamedTuple):
    """results: of the run. tasks: the client's own. others: mean over the tasks of other clients, a fraction or None.
    same_model: whether the model that was scored is the exported one; otherwise it is that one before the last
    aggregation."""

    results: Results
    tasks: tuple[TaskScores, ...]
    others: float | None
    same_model: bool

    @property
    def mean(self) -> float:
        """The official score, averaged over the client's own tasks."""
        return sum(task.official for task in self.tasks) / len(self.tasks)


def client_scores(run: Path, client: int, seed: int) -> ClientScores | None:
    """The scores of a client's model; None where the run has no results, or is not over."""
    if not (run / FILE).exists():
        return None
    results = load(run)
    found = next((one for one in results.runs if one.seed == seed), None)
    if results.status != "complete" or found is None or not found.rounds or client >= len(results.clients):
        return None
    received = any(row.client == client and row.direction == "down" for row in found.traffic)
    second = found.aggregated is not None and results.evaluate_at == "trained" and received
    same = second or results.evaluate_at == "aggregated" or not received
    matrices = found.aggregated.scores if second and found.aggregated is not None else found.scores
    official, strict = (matrices[protocol][-1][client] for protocol in ("official", "strict"))
    before = None if found.zero_shot is None else found.zero_shot["official"][client]
    counts = _answered(run / AGGREGATED if second else run, found, client)
    own = results.clients[client].tasks
    tasks = []
    for column, task in enumerate(found.tasks):
        scores = official[column], strict[column]
        if task in own and scores[0] is not None and scores[1] is not None and task in counts:
            metric, records = counts[task]
            bare = None if before is None else before[column]
            tasks.append(TaskScores(task, metric, records, scores[0], scores[1], bare))
    theirs = {task for one in results.clients if one.id != client for task in one.tasks} - set(own)
    others = [official[k] for k, task in enumerate(found.tasks) if task in theirs]
    known = [score for score in others if score is not None]
    mean = sum(known) / len(known) if known and len(known) == len(others) else None
    return ClientScores(results, tuple(tasks), mean, same) if tasks else None


def _answered(root: Path, run: SeedRun, client: int) -> dict[str, tuple[str, int]]:
    """Task -> (its metric, how many of its records the client answered at the last point), from the stored answers;
    none where these were deleted."""
    path = prediction_path(root, run.seed, len(run.rounds))
    rows = [row for row in read_predictions(path) if row.client == client] if path.exists() else []
    counts = Counter(row.task for row in rows)
    return {row.task: ("token-F1" if row.correct is None else "accuracy", counts[row.task]) for row in rows}

"""A_last and A_AUC for Self and Others, from the scores of clients on tasks, as a module of the library `evaluate`."""

import datasets
import evaluate
import numpy as np

from drake.errors import DrakeError
from drake.results.summaries import ScoreTable, seed_summary

DESCRIPTION = """A_last and A_AUC of a federation of clients with tasks of their own. At an evaluation point, Self is
the mean over clients of the mean score on their own tasks, Others the same on the tasks of all other clients. A_last is
the value at the last point, A_AUC the mean over the points."""

INPUTS = """
Args:
    scores: the score of a client on a task at an evaluation point, float.
    clients: the client, int.
    tasks: the task, str.
    own: whether the client trains on the task, bool.
    points: the evaluation point, int, ascending in time. A task that has not begun at a point has no score there.
Returns:
    self_last, self_auc, others_last, others_auc; None where a score is missing.
"""

FEATURES = {
    "scores": datasets.Value("float64"),
    "clients": datasets.Value("int64"),
    "tasks": datasets.Value("string"),
    "own": datasets.Value("bool"),
    "points": datasets.Value("int64"),
}

NAMES = ("self_last", "self_auc", "others_last", "others_auc")


class DrakeALast(evaluate.Metric):
    """See DESCRIPTION."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation="", inputs_description=INPUTS, features=datasets.Features(FEATURES)
        )

    # `compute` of the library passes the features by name.
    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, scores: list[float], clients: list[int], tasks: list[str], own: list[bool], points: list[int]
    ) -> dict[str, float | None]:
        order = [sorted(set(clients)), sorted(set(tasks)), sorted(set(points))]
        who, what, when = ({value: place for place, value in enumerate(values)} for values in order)
        values = np.full((len(when), len(who), len(what)), np.nan)
        owned: list[set[str]] = [set() for _ in who]
        foreign: list[set[str]] = [set() for _ in who]
        begun: list[set[str]] = [set() for _ in when]
        for score, client, task, mine, point in zip(scores, clients, tasks, own, points, strict=True):
            cell = when[point], who[client], what[task]
            if not np.isnan(values[cell]):
                raise DrakeError(f"client {client} has two scores on task {task!r} at point {point}.")
            values[cell] = score
            (owned if mine else foreign)[who[client]].add(task)
            begun[when[point]].add(task)
        for client, place in who.items():
            for task in sorted(owned[place] & foreign[place]):
                raise DrakeError(f"task {task!r} of client {client} is its own at one point and not at another.")
        table = ScoreTable(
            values=values,
            tasks=tuple(what),
            own=tuple(tuple(sorted(names)) for names in owned),
            begun=tuple(map(frozenset, begun)),
            rounds=tuple(range(1, len(when) + 1)),
        )
        summary = seed_summary(table)
        return {name: getattr(summary, name) for name in NAMES}

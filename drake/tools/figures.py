"""`drake plot`: the pictures of a report, from results alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from drake.errors import DrakeError
from drake.results import Results, plots
from drake.scoring.answers import Protocol


def draw(runs: Sequence[tuple[str, Results]], out: Path, protocol: Protocol = "official") -> Iterator[Path]:
    """Draw everything these runs allow into the folder `out`; yields the PNG of each picture (an SVG lies beside it).
    DrakeError for a run without a finished seed.

    runs: (name of the run, results). Across runs: curves, communication, forgetting. For each run: clients by tasks,
    and relevance where the method measures it.
    """
    results = [found for _, found in runs]
    for name, found in runs:
        if not found.runs or not all(run.rounds for run in found.runs) or protocol not in found.summary:
            raise DrakeError(f"the run {name} has no finished seed; let it finish one.")
    yield plots.curves(results, out / "curves", protocol)[0]
    yield plots.communication(results, out / "communication", protocol)[0]
    yield plots.forgetting(results, out / "forgetting", protocol)[0]
    for name, found in runs:
        clients = [f"client {client.id}" for client in found.clients]
        last = np.array([_numbers(run.scores[protocol][-1]) for run in found.runs])
        title = f"{found.method.name}: score of each client on each task, last round (%)"
        tasks = found.runs[0].tasks
        yield plots.heatmap(last.mean(axis=0), clients, tasks, out / f"{name}-tasks", title, percent=True)[0]
        matrices = [run.relevance[-1] for run in found.runs if run.relevance and run.relevance[-1]]
        if matrices:
            mean = np.array([_numbers(matrix) for matrix in matrices]).mean(axis=0)
            np.fill_diagonal(mean, np.nan)  # 1 by definition: it would take all the colour
            labels = [f"{client.id}: {_worlds(client.tasks)}" for client in found.clients]
            title = f"{found.method.name}: task relevance, last round"
            yield plots.heatmap(mean, labels, [str(c.id) for c in found.clients], out / f"{name}-relevance", title)[0]


def _numbers(matrix: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row] for row in matrix], dtype=np.float64)


def _worlds(tasks: Sequence[str]) -> str:
    """ "NLVR2, VSR" of ["NLVR2-0", "NLVR2-1", "VSR-0"]."""
    return ", ".join(dict.fromkeys(task.rpartition("-")[0] for task in tasks))

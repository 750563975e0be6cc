"""Pictures of scores on tasks that nobody trains on, in the style of `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drake.results.plots import COLOURS, COLUMN_WIDTH, MARKERS, STYLE, written


def unseen_bars(scores: Mapping[str, tuple[NDArray[np.float64], float]], path: Path | str) -> tuple[Path, Path]:
    """One bar per run: the mean over clients and tasks, with the standard error over seeds; a line where the bare
    backbones stand. scores: name of the run -> ([seeds] means, that of the bare backbones), fractions."""
    with rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH, 0.9 + 0.28 * len(scores)), layout="constrained")
        panel = figure.subplots()
        means = [100 * float(np.mean(seeds)) for seeds, _ in scores.values()]
        errors = [100 * float(standard_error(seeds)) for seeds, _ in scores.values()]
        colours = [colour for colour, _ in zip(cycle(COLOURS), scores, strict=False)]
        places = np.arange(len(scores))
        panel.barh(places, means, xerr=np.nan_to_num(errors), color=colours, height=0.6)
        before = [100 * bare for _, bare in scores.values()]
        panel.plot(before, places, linestyle="", marker="|", markersize=14, color="black", label="bare backbones")
        panel.set_yticks(places, list(scores))
        panel.invert_yaxis()
        panel.set(xlabel="Score on unseen tasks (%)")
        figure.legend(loc="outside lower center")
        return written(figure, path)


def adaptation_curves(
    steps: Sequence[int], tasks: Sequence[str], scores: NDArray[np.float64], path: Path | str, title: str
) -> tuple[Path, Path]:
    """Score over steps of adaptation: a thin line per task (mean over seeds and clients), a thick one for their mean
    with a band of one standard error over seeds. scores: [seeds, steps, clients, tasks], fractions."""
    with rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH * 1.5, 2.8), layout="constrained")
        panel = figure.subplots()
        of_tasks = 100 * scores.mean(axis=(0, 2))
        for k, (task, colour, marker) in enumerate(zip(tasks, cycle(COLOURS), cycle(MARKERS), strict=False)):
            line = of_tasks[:, k]
            panel.plot(steps, line, color=colour, marker=marker, markersize=3, linewidth=0.7, alpha=0.7, label=task)
        seeds = 100 * scores.mean(axis=(2, 3))
        mean = seeds.mean(axis=0)
        panel.plot(steps, mean, color="black", linewidth=2, label="mean")
        if len(seeds) > 1:
            error = np.array([standard_error(column) for column in seeds.T])
            panel.fill_between(steps, mean - error, mean + error, color="black", alpha=0.15, linewidth=0)
        panel.set_xticks(list(steps))
        panel.set(title=title, xlabel="Optimizer steps on the task", ylabel="Score (%)")
        figure.legend(loc="outside right center")
        return written(figure, path)


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean over seeds; NaN with fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")

"""Tables of scores on tasks that nobody trains on, in percent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from drake.results import Results
from drake.results.unseen_plots import standard_error
from drake.tools.adapt import Adaptation
from drake.tools.unseen import Unseen, same_tasks


def unseen_table(found: Mapping[str, Unseen]) -> Table:
    """A column for each run, a row for each task and one for their mean, over seeds and clients after the last round;
    in brackets the gain over the bare backbones of the run's clients."""
    tasks = same_tasks(list(found.values()))
    table = Table(title="tasks that no client trains on, after the last round (%)", title_justify="left")
    table.add_column("task", no_wrap=True)
    for name in found:
        table.add_column(name, justify="right")
    for k, task in enumerate(tasks):
        values = [(one.last[..., k].mean(), one.zero_shot[:, k].mean()) for one in found.values()]
        table.add_row(task, *(f"{100 * last:.2f} ({100 * (last - before):+.2f})" for last, before in values))
    table.add_section()
    means = (f"{_with_error(one.last.mean((1, 2)))} ({100 * one.gain.mean():+.2f})" for one in found.values())
    table.add_row("mean", *means)
    return table


def client_table(name: str, results: Results, found: Unseen) -> Table:
    """The clients of one run: their means over unseen tasks before training and after, those who joined late marked."""
    table = Table(title=f"{name}: clients on unseen tasks (%)", title_justify="left")
    table.add_column("client")
    for title in ("untrained", "last", "own tasks, last"):
        table.add_column(title, justify="right")
    own = np.array([run.summary["official"].clients_last for run in results.runs], dtype=np.float64)
    for client in results.clients:
        late = f", from round {found.late[client.id]}" if client.id in found.late else ""
        cells = (found.zero_shot[client.id].mean(), found.last[:, client.id].mean(), own[:, client.id].mean())
        table.add_row(f"{client.id} ({client.model}{late})", *(f"{100 * value:.2f}" for value in cells))
    return table


def adaptation_table(method: str, found: Adaptation) -> Table:
    """A row for each task and one for their mean, a column for each number of steps; means over seeds and clients."""
    scores = found.scores["official"]
    table = Table(title=f"{method}, unseen tasks after so many steps on them (%)", title_justify="left")
    table.add_column("task")
    for count in found.steps:
        table.add_column(f"{count}", justify="right")
    for k, task in enumerate(found.tasks):
        table.add_row(task, *(f"{100 * value:.2f}" for value in scores[..., k].mean((0, 2))))
    table.add_section()
    table.add_row("mean", *(_with_error(seeds) for seeds in scores.mean((2, 3)).T))
    return table


def _with_error(seeds: NDArray[np.float64]) -> str:
    """The mean of [seeds] fractions in percent, with the standard error of two seeds or more."""
    error = 100 * standard_error(seeds)
    return f"{100 * float(seeds.mean()):.2f}" + ("" if np.isnan(error) else f" ± {error:.2f}")

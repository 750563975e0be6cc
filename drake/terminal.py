"""What the command line shows of a run: bars with the time left on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from drake.harness import Reporter, Setup
from drake.harness.communication import Cost, relative
from drake.results import Results, SeedSummary


def duration(seconds: float) -> str:
    """ "42 s", "3 min 05 s", "2 h 10 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(score: float | None) -> str:
    """A fraction as percent with two decimals; "-" for none."""
    return "-" if score is None else f"{100 * score:.2f}"


class Live(Reporter):
    """Draws a run. Work left is counted in client-rounds and answers, each at the pace measured so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._pace = {"train": _Pace(), "eval": _Pace()}
        self._round_bar: TaskID | None = None
        self._answer_bar: TaskID | None = None

    def __enter__(self) -> Live:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, setup: Setup) -> None:
        self._setup = setup
        training, names = setup.preset.training, ", ".join(setup.architectures)
        steps = training.local_steps(setup.method_class.relative_cost)
        self._console.print(
            f"{setup.settings.method}: {len(setup.clients)} clients, {len(setup.tasks)} tasks, {setup.rounds} rounds "
            f"of {steps:.3g} steps x {training.micro_batch * training.accumulation} records on {names}"
        )

    def seed_started(self, seed: int, rounds_done: int) -> None:
        self._seed = seed
        clients = len(self._setup.clients)
        if rounds_done:
            self._console.print(f"seed {seed}: goes on after round {rounds_done}")
        self._pace["train"].left = clients * (self._setup.rounds - rounds_done)
        for bar in (self._round_bar, self._answer_bar):
            if bar is not None:
                self._bars.remove_task(bar)
        self._round_bar = self._bars.add_task(
            f"seed {seed}, client-rounds", total=clients * self._setup.rounds, completed=clients * rounds_done, note=""
        )
        self._answer_bar = self._bars.add_task("answers", total=None, visible=False, note="")

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        self._pace["train"].done(1)
        shown = "nothing has arrived" if loss is None else f"loss {loss:.3f}"
        self._bars.update(self._round_bar, advance=1, note=f"{shown}{self._left('train')}")

    def round_done(self, rounds_done: int) -> None:
        if not self._console.is_terminal:
            self._console.print(f"seed {self._seed}: round {rounds_done} of {self._setup.rounds}{self._left('train')}")

    def evaluating(self, round: int, total: int) -> None:
        self._pace["eval"].left = total
        self._pace["eval"].start()
        where = f"after round {round}" if round else "zero-shot"
        self._bars.update(
            self._answer_bar, description=f"answers {where}", total=total, completed=0, visible=True, note=""
        )

    def answered(self, count: int) -> None:
        self._pace["eval"].done(count)
        self._bars.update(self._answer_bar, advance=count, note=self._left("eval").removeprefix(", "))

    def evaluated(self, round: int, summary: SeedSummary | None) -> None:
        self._bars.update(self._answer_bar, visible=False)
        self._pace["train"].start()
        if summary is not None:
            self._console.print(
                f"seed {self._seed}, round {round}: Self {percent(summary.self_last)}, "
                f"Others {percent(summary.others_last)}"
            )

    def _left(self, work: Literal["train", "eval"]) -> str:
        """ ", about 3 min 05 s of training left"; empty before anything is measured."""
        seconds = self._pace[work].seconds_left()
        named = {"train": "training", "eval": "this evaluation"}[work]
        return "" if seconds is None else f", about {duration(seconds)} of {named} left"


class _Pace:
    """Seconds a unit of work takes, while it is worked on."""

    def __init__(self) -> None:
        self.left = 0
        self._spent, self._units, self._since = 0.0, 0, time.perf_counter()

    def start(self) -> None:
        self._since = time.perf_counter()

    def done(self, units: int) -> None:
        now = time.perf_counter()
        self._spent, self._units, self._since = self._spent + now - self._since, self._units + units, now
        self.left -= units

    def seconds_left(self) -> float | None:
        return None if not self._units else self._spent / self._units * self.left


def summary_table(results: Results) -> Table:
    """The four figures of a run by both protocols, mean over seeds with the standard error."""
    table = Table(title=f"{results.method.name}, preset {results.preset}", title_justify="left")
    table.add_column("protocol")
    columns = {"self_last": "Self A_last", "self_auc": "Self A_AUC", "others_last": "Others A_last"}
    columns["others_auc"] = "Others A_AUC"
    for title in columns.values():
        table.add_column(title, justify="right")
    for protocol, found in results.summary.items():
        cells = []
        for name in columns:
            estimate = found[name]
            error = f" ± {percent(estimate.stderr)}" if estimate.stderr is not None else ""
            cells.append(percent(estimate.mean) + error)
        table.add_row(protocol, *cells)
    return table


def task_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Backbone -> task -> score as a table of percents with the mean in the first row."""
    table = Table(title="zero-shot, protocol official", title_justify="left")
    table.add_column("task")
    for name in scores:
        table.add_column(name, justify="right")
    columns = list(scores.values())
    table.add_row("mean", *(percent(sum(column.values()) / len(column)) for column in columns), end_section=True)
    for task in columns[0]:
        table.add_row(task, *(percent(column[task]) for column in columns))
    return table


def megabytes(size: float) -> str:
    """Bytes as megabytes: "1,047.2"; two digits of what is below one, "-" for nothing."""
    if not size:
        return "-"
    return f"{size / 1e6:,.1f}" if size >= 0.95e6 else f"{size / 1e6:.2g}"


def cost_table(found: Mapping[str, Cost | None], by_kind: bool = False) -> Table:
    """What methods send, per client and round: a row for each, with `by_kind` one for each kind of its tensors too."""
    held = sorted({name for cost in found.values() if cost is not None for name in cost.backbones})
    table = Table(title="MB sent per client and round", title_justify="left", box=box.SIMPLE)
    table.add_column("method", no_wrap=True)
    for name in [*held, "mean"]:
        table.add_column(f"{name}\nup / down", justify="right")
    table.add_column("mean\nboth", justify="right", no_wrap=True)
    table.add_column("to most\neconomical\nother", justify="right")
    share = relative(found)
    for name, cost in found.items():
        if cost is None:
            table.add_row(name, *("?" for _ in table.columns[1:]))
            continue
        ways = [[cost.mean(direction, one) for direction in ("up", "down")] for one in [*held, None]]
        sums = [[sum(way.values()) for way in pair] for pair in ways]
        against = "-" if share[name] is None else f"{100 * share[name]:+.1f}%"
        table.add_row(name, *map(_up_down, sums), megabytes(cost.total), against)
        for kind in sorted({kind for pair in ways for way in pair for kind in way}) if by_kind else ():
            sizes = [[way.get(kind, 0) for way in pair] for pair in ways]
            table.add_row(f"  {kind}", *map(_up_down, sizes), megabytes(sum(sizes[-1])), style="dim")
    return table


def _up_down(sizes: Sequence[float]) -> str:
    return " / ".join(map(megabytes, sizes)) if any(sizes) else "-"

"""Tables of results and costs, and how numbers are written in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from drake.common.outside import shown
from drake.results import Results

if TYPE_CHECKING:
    from drake.tools.traffic import Cost


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


def summary_table(results: Results) -> Table:
    """The four figures of a run by both protocols, mean over seeds with the standard error."""
    title = escape(shown(f"{results.method.name}, preset {results.preset}"))  # as a results file names them
    table = Table(title=title, title_justify="left")
    table.add_column("protocol")
    columns = {"self_last": "Self A_last", "self_auc": "Self A_AUC", "others_last": "Others A_last"}
    columns["others_auc"] = "Others A_AUC"
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for protocol, found in results.summary.items():
        cells = []
        for name in columns:
            estimate = found[name]
            error = f" ± {percent(estimate.stderr)}" if estimate.stderr is not None else ""
            cells.append(percent(estimate.mean) + error)
        table.add_row(protocol, *cells)
    named = results.config.get("metrics")
    if isinstance(named, list) and len(named) > 1:
        table.caption = f"Every figure is a mean over tasks of unlike metrics: {', '.join(map(str, named))}."
        table.caption_justify = "left"
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
    from drake.tools.traffic import relative  # here: it loads PyTorch, which the other tables do not need

    held = sorted({name for cost in found.values() if cost is not None for name in cost.backbones})
    table = Table(title="MB sent per client and round", title_justify="left", box=box.SIMPLE)
    table.add_column("method", no_wrap=True)
    for name in [*held, "mean"]:
        table.add_column(f"{name}\nup / down", justify="right")
    table.add_column("mean\nboth", justify="right", no_wrap=True)
    table.add_column("to the least\nof others\nwith adapters", justify="right")
    share = relative(found)
    for name, cost in found.items():
        if cost is None:
            table.add_row(name, *("?" for _ in table.columns[1:]))
            continue
        ways = [[cost.mean(direction, one) for direction in ("up", "down")] for one in [*held, None]]
        sums = [[sum(way.values()) for way in pair] for pair in ways]
        fraction = share[name]
        against = "-" if fraction is None else f"{100 * fraction:+.1f}%"
        table.add_row(name, *map(_up_down, sums), megabytes(cost.total), against)
        for kind in sorted({kind for pair in ways for way in pair for kind in way}) if by_kind else ():
            sizes = [[way.get(kind, 0) for way in pair] for pair in ways]
            table.add_row(f"  {kind}", *map(_up_down, sizes), megabytes(sum(sizes[-1])), style="dim")
    return table


def _up_down(sizes: Sequence[float]) -> str:
    return " / ".join(map(megabytes, sizes)) if any(sizes) else "-"

"""The tables of `drake value` and `drake compare`, apart from `tables`, which the commands of runs use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from drake.cli.tables import percent
from drake.common.outside import shown
from drake.results.comparison import LEVEL, Difference
from drake.tools.value import Interval, Value, interval


def value_table(found: Value, clients: Sequence[str]) -> Table:
    """Of every client, what its presence gives to the others on average and what it gains from theirs, in points with
    95% intervals."""
    seeds = len(found.seeds)
    table = Table(title=f"points of Self A_last, official protocol, {seeds} seeds", title_justify="left")
    table.add_column("client")
    table.add_column("gives to the others", justify="right")
    table.add_column("gains from the others", justify="right")
    for number, client in enumerate(clients):
        cells = [interval(found.given[:, number]), interval(found.gained[:, number])]
        table.add_row(escape(shown(client)), *map(_points, cells))
    table.add_section()
    table.add_row("mean", *(_points(interval(values.mean(1))) for values in (found.given, found.gained)))
    if seeds < 3:
        table.caption = "Fewer than three seeds: no interval, and no verdict."
    return table


def _points(found: Interval) -> str:
    return f"{found.mean:+.2f}" if found.half is None else f"{found.mean:+.2f} ± {found.half:.2f}"


def difference_table(
    means: Mapping[str, float], letters: Sequence[str], differences: Sequence[Difference], side: str, protocol: str
) -> Group:
    """The runs, best first, with the letters of the groups that cannot be told apart; then every pair."""
    runs = Table(title=f"{side.capitalize()} A_last, protocol {protocol}", title_justify="left")
    runs.add_column("run")
    runs.add_column("score", justify="right")
    runs.add_column("group")
    for (name, mean), group in zip(means.items(), letters, strict=True):
        runs.add_row(escape(shown(name)), percent(mean), group)
    runs.caption = "Two runs share a letter if and only if they cannot be told apart."
    pairs = Table(title="differences in points, paired, 95% intervals", title_justify="left")
    for title in ("better", "than"):
        pairs.add_column(title)
    for title in ("by", "interval", "probability", "p (Holm)"):
        pairs.add_column(title, justify="right")
    pairs.add_column("verdict")
    for found in differences:
        pairs.add_row(*_difference_cells(found))
    return Group(runs, pairs)


def _difference_cells(found: Difference) -> list[str]:
    better, than, sign = (found.a, found.b, 1) if found.mean >= 0 else (found.b, found.a, -1)
    cells = [escape(shown(better)), escape(shown(than)), f"{100 * abs(found.mean):.2f}"]
    if found.low is None or found.high is None or found.p is None or found.probability is None:
        return [*cells, "", "", "", f"none: {len(found.by_seed)} seeds"]
    low, high = sorted((sign * found.low, sign * found.high))
    chance = found.probability if sign == 1 else 1 - found.probability
    verdict = "better" if found.p <= LEVEL else "not told apart"
    return [*cells, f"{100 * low:+.2f} to {100 * high:+.2f}", f"{chance:.3f}", f"{found.p:.3f}", verdict]

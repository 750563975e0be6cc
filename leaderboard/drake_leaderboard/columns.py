"""The columns of a leaderboard table: the text of a cell, the values in CSV and JSON files, and the order by a column.

Scores are percent with two decimals in cells, fractions in files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from drake.errors import UnknownName
from drake.results import Estimate

from .entries import SCORES, Row

if TYPE_CHECKING:
    from drake.results.comparison import Difference
    from drake.results.gains import Share

Best = Literal["highest", "lowest", "names", ""]
"""What comes first where a table is ordered by a column; "" for columns that order nothing."""
Part = Literal["both", "main", "worth"]
"""The table that holds a column: the main one of a track, or the one of what federation is worth."""


class Column(NamedTuple):
    """heading: the title. cell: (rank from 1, row) -> the text of the cell. raw: (rank, row) -> {CSV column: value}.
    value: what a table is ordered by; its name is the first CSV column."""

    heading: str
    cell: Callable[[int, Row], str]
    raw: Callable[[int, Row], dict[str, object]]
    key: str = ""
    value: Callable[[Row], Any] = lambda _: None
    best: Best = ""
    part: Part = "main"


def percent(estimate: Estimate) -> str:
    """ "67.86 ± 0.51" of a fraction; the error only where it is known, "" for an unknown score."""
    if estimate.mean is None:
        return ""
    error = f" ± {100 * estimate.stderr:.2f}" if estimate.stderr is not None else ""
    return f"{100 * estimate.mean:.2f}{error}"


def readable_bytes(count: float | None) -> str:
    """ "1.5 MB" with decimal units, "" for unknown."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def gain(entry: Row) -> str:
    """ "+2.31 [0.54, 4.08]": points of Self A_last over SFT, with the interval where there is one."""
    if entry.gain is None:
        return ""
    found = entry.gain
    interval = "" if found.low is None or found.high is None else f" [{100 * found.low:.2f}, {100 * found.high:.2f}]"
    return f"{100 * found.mean:+.2f}{interval}"


def better_off(entry: Row) -> str:
    """ "7 of 10 [35, 93]%": clients that score higher than with SFT, with the interval of their share."""
    if entry.better is None:
        return ""
    found = entry.better
    return f"{found.better} of {found.clients} [{100 * found.low:.0f}, {100 * found.high:.0f}]%"


def _score(heading: str, key: str, pick: Callable[[Row], Estimate | None], part: Part = "main") -> Column:
    def known(entry: Row) -> Estimate:
        return pick(entry) or Estimate(mean=None, stderr=None, n=0)

    return Column(
        heading,
        lambda _, entry: percent(known(entry)),
        lambda _, entry: {key: known(entry).mean, f"{key}_stderr": known(entry).stderr},
        key,
        lambda entry: known(entry).mean,
        "highest",
        part,
    )


def _plain(
    heading: str,
    key: str,
    value: Callable[[Row], Any],
    cell: Callable[[Any], str] = str,
    best: Best = "names",
    part: Part = "main",
) -> Column:
    return Column(
        heading,
        lambda _, entry: cell(value(entry)),
        lambda _, entry: {key: value(entry)},
        key,
        value,
        best,
        part,
    )


def _own(name: str) -> Callable[[Row], Estimate]:
    return lambda entry: entry.scores[name]


def _interval(key: str, mean: float | None, found: Difference | Share | None) -> dict[str, object]:
    low, high = (None, None) if found is None else (found.low, found.high)
    return {key: mean, f"{key}_low": low, f"{key}_high": high}


def _share(entry: Row) -> float | None:
    return None if entry.better is None else entry.better.share


def _mean_gain(entry: Row) -> float | None:
    return None if entry.gain is None else entry.gain.mean


COLUMNS = (
    Column("#", lambda place, _: str(place), lambda place, _: {"rank": place}, "rank", part="both"),
    Column(
        "Method",
        lambda _, entry: entry.display_name,
        lambda _, entry: {"method": entry.method, "method_name": entry.display_name},
        "method",
        lambda entry: entry.display_name.lower(),
        "names",
        "both",
    ),
    _plain("Tie group", "tie_group", lambda entry: entry.group),
    *(_score(heading, name, _own(name)) for name, heading in SCORES.items()),
    _score("Strict Self A_last", "strict_self_last", lambda entry: entry.strict_self_last),
    _plain("Seeds", "seeds", lambda entry: entry.seeds or "", str, "highest"),
    _plain("Sent/client/round", "bytes_up_per_client_and_round", lambda entry: entry.upload, readable_bytes, "lowest"),
    _plain(
        "Minutes", "minutes_per_seed", lambda entry: entry.minutes, lambda m: "" if m is None else f"{m:.1f}", "lowest"
    ),
    _plain(
        "TFLOP", "flops_per_seed", lambda entry: entry.flops, lambda n: "" if n is None else f"{n / 1e12:.3g}", "lowest"
    ),
    Column(
        "Better off",
        lambda _, entry: better_off(entry),
        lambda _, entry: _interval("clients_better_off", _share(entry), entry.better),
        "clients_better_off",
        _share,
        "highest",
        "worth",
    ),
    Column(
        "Gain over SFT",
        lambda _, entry: gain(entry),
        lambda _, entry: _interval("gain_over_sft", _mean_gain(entry), entry.gain),
        "gain_over_sft",
        _mean_gain,
        "highest",
        "worth",
    ),
    _score("Worst client", "worst_client", lambda entry: entry.worst, "worth"),
    _score("Weighted Self", "weighted_self_last", lambda entry: entry.weighted, "worth"),
    _score("Aggregated Self", "aggregated_self_last", lambda entry: entry.aggregated.get("self_last"), "worth"),
    _score("Aggregated Others", "aggregated_others_last", lambda entry: entry.aggregated.get("others_last"), "worth"),
    _plain(
        "Pareto front",
        "pareto_front",
        lambda entry: entry.pareto,
        lambda on: "yes" if on else "",
        "highest",
        "worth",
    ),
    _plain("Checked", "checked", lambda entry: entry.checked),
    _plain("Name", "name", lambda entry: entry.name),
    _plain("Origin", "origin", lambda entry: entry.origin),
)

NAMES = ("Method", "Tie group", "Checked", "Name", "Origin")
"""Headings of the columns that hold names instead of numbers."""
WORTH = "What federation is worth"
"""The heading of a track's second table."""


class Table(NamedTuple):
    """A part of a track as text. title: "" for the main part. lines: the cells."""

    title: str
    columns: tuple[Column, ...]
    lines: list[list[str]]


def cells(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> list[list[str]]:
    """The cells of a table, in the order of the columns."""
    return [[column.cell(place, entry) for column in columns] for place, entry in enumerate(rows, start=1)]


def parts(rows: Sequence[Row]) -> list[Table]:
    """The tables of a track, without the columns in which every cell is empty."""
    found: list[Table] = []
    for part, title in (("main", ""), ("worth", WORTH)):
        columns = [column for column in COLUMNS if column.part in (part, "both")]
        lines = cells(rows, columns)
        kept = [k for k in range(len(columns)) if any(line[k] for line in lines)]
        if part == "main" or any(columns[k].part == part for k in kept):
            found.append(Table(title, tuple(columns[k] for k in kept), [[line[k] for k in kept] for line in lines]))
    return found


def column_of(name: str) -> Column:
    """The column of a heading or of a CSV column, in capitals or not. UnknownName for one that orders nothing."""
    known = [column for column in COLUMNS if column.best]
    for column in known:
        if name.lower() in (column.key, column.heading.lower()):
            return column
    raise UnknownName("column", name, [column.key for column in known])


def ordered(rows: Sequence[Row], column: Column) -> list[Row]:
    """The rows by a column, best first; unknown values last, equal ones as they were."""
    known = [entry for entry in rows if column.value(entry) not in (None, "")]
    unknown = [entry for entry in rows if column.value(entry) in (None, "")]
    return sorted(known, key=column.value, reverse=column.best == "highest") + unknown

"""The columns of a leaderboard table: the text of a cell, and the values in CSV files.

Scores are percent with two decimals in cells, fractions in files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from drake.results import Estimate

from .entries import SCORES, Row


class Column(NamedTuple):
    """heading: the title. cell: (rank from 1, row) -> the text of the cell. raw: (rank, row) -> {CSV column: value}."""

    heading: str
    cell: Callable[[int, Row], str]
    raw: Callable[[int, Row], dict[str, object]]


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


def _score_column(heading: str, key: str, pick: Callable[[Row], Estimate]) -> Column:
    return Column(
        heading,
        lambda _, entry: percent(pick(entry)),
        lambda _, entry: {key: pick(entry).mean, f"{key}_stderr": pick(entry).stderr},
    )


def _plain(heading: str, key: str, value: Callable[[int, Row], Any], cell: Callable[[Any], str] = str) -> Column:
    return Column(
        heading,
        lambda place, entry: cell(value(place, entry)),
        lambda place, entry: {key: value(place, entry)},
    )


def _score(name: str) -> Callable[[Row], Estimate]:
    return lambda entry: entry.scores[name]


COLUMNS = (
    _plain("#", "rank", lambda place, _: place),
    _plain("Method", "method", lambda _, entry: entry.method),
    *(_score_column(heading, name, _score(name)) for name, heading in SCORES.items()),
    _score_column("Strict Self A_last", "strict_self_last", lambda entry: entry.strict_self_last),
    _plain("Seeds", "seeds", lambda _, entry: entry.seeds or "", str),
    _plain("Sent/client/round", "bytes_up_per_client_and_round", lambda _, entry: entry.upload, readable_bytes),
    _plain("Minutes", "minutes_per_seed", lambda _, entry: entry.minutes, lambda m: "" if m is None else f"{m:.1f}"),
    _plain("TFLOP", "flops_per_seed", lambda _, entry: entry.flops, lambda n: "" if n is None else f"{n / 1e12:.3g}"),
    _plain("Checked", "checked", lambda _, entry: entry.checked),
    _plain("Origin", "origin", lambda _, entry: entry.origin),
)


NAMES = ("Method", "Checked", "Origin")
"""Headings of the columns that hold names instead of numbers."""


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of a table, in the order of COLUMNS."""
    return [[column.cell(place, entry) for column in COLUMNS] for place, entry in enumerate(rows, start=1)]

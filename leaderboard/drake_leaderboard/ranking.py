"""Ranking: run folders, submission folders and published results become one table per track.

Within a track rows are ordered by official Self A_last, then by Others A_last, A_AUC and the name. The formats of a
board are in `terminal.py` and `formats.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from drake.common.outside import shown
from drake.errors import DrakeError
from drake.results import FILE, load, run_folders

from .columns import column_of, ordered
from .entries import Row, Track, numbered, published_rows, row
from .reviewed import UNCHECKED, mark
from .tickets import TICKET, read_ticket
from .validation import verdict_for_board

if TYPE_CHECKING:
    from drake.results.comparison import Difference


class Standing(NamedTuple):
    """What `standing.py` found out about a track beside its rows.

    metrics: of its scores, in a sentence; "" where no answers are stored. ties: what the letters of its tie groups
    mean; "" without letters. differences: of all pairs with a letter, best row first, named by `labels`, p adjusted.
    labels: a name for each row that no other row of the track has.
    """

    metrics: str
    ties: str
    differences: list[Difference]
    labels: list[str]


class Board(NamedTuple):
    """tables: track -> its rows, best first. left_out: why results that were found are not ranked, one line each.
    standings: of the tracks of runs, once `standing.judged` has read the answers."""

    tables: dict[Track, list[Row]]
    left_out: list[str]
    standings: Mapping[Track, Standing] = MappingProxyType({})


def collect(paths: Iterable[Path | str], published: bool = True) -> Board:
    """The tables of all results at or under the paths, and of the published results.

    A path is a run or submission folder, or a folder of such folders at any depth. Runs that are not complete are left
    out with a note, and so are submissions that fail their check (`validation.py`) and folders that cannot be read.
    Raises DrakeError for a path that does not exist or holds no results.
    """
    rows: list[Row] = []
    left_out: list[str] = []
    for folder in run_folders(paths):
        try:
            checked, said = _checked(folder)
            results = load(folder)
        except DrakeError as error:
            left_out.append(f"left out: {error}")
            continue
        if results.status == "complete" and results.summary:
            rows.append(replace(row(results, shown(folder.name, 80), folder), checked=checked, **said))
        else:
            left_out.append(f"{folder} is {results.status} and not ranked; finish it with the same `drake eval`.")
    if published:
        rows += published_rows()
    return Board(ranked(rows), left_out)


def _checked(folder: Path) -> tuple[str, dict[str, Any]]:
    """How far a folder was checked, and what a submission says of itself. Runs of one's own carry no ticket and are not
    checked. Raises DrakeError, with the reason, for a submission that fails its check."""
    if not os.path.lexists(folder / TICKET):
        return UNCHECKED, {}
    verdict = verdict_for_board(folder)
    if verdict.refused:
        raise DrakeError(verdict.refused[0])
    ticket = read_ticket(folder)
    said = {"name": ticket.get("name", ""), "authors": tuple(ticket.get("authors", ())), "link": ticket.get("link", "")}
    return mark(folder, verdict.checked), said


def ranked(rows: Iterable[Row]) -> dict[Track, list[Row]]:
    """Rows by track, best first; tracks of runs before published ones, then by name. Tracks of equal titles get a
    number."""
    tables: dict[Track, list[Row]] = {}
    for entry in sorted(rows, key=_order):
        tables.setdefault(entry.track, []).append(entry)
    return {
        new: entries if new == old else [replace(entry, track=new) for entry in entries]
        for (old, entries), new in zip(tables.items(), numbered(tables).values(), strict=True)
    }


def by_column(board: Board, name: str) -> Board:
    """The same, every track ordered by a column (`columns.column_of`); tie groups stay those of Self A_last."""
    column = column_of(name)
    return board._replace(tables={track: ordered(rows, column) for track, rows in board.tables.items()})


def _order(entry: Row) -> tuple[Any, ...]:
    # Unknown scores sort last.
    keys = ("self_last", "others_last", "self_auc", "others_auc")
    means = [entry.scores[key].mean for key in keys]
    return (entry.track, *(float("inf") if mean is None else -mean for mean in means), entry.method, entry.origin)


def default_paths() -> list[Path]:
    """The bundled submissions and ./runs, where they hold results."""
    bundled = Path(str(files("drake_leaderboard"))) / "submissions"
    return [path for path in (bundled, Path("runs")) if path.is_dir() and any(path.rglob(FILE))]

"""Leaderboard tables for a terminal, as wide as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .columns import COLUMNS, NAMES, cells
from .ranking import Board
from .resolution import resolution

if TYPE_CHECKING:
    from rich.console import RenderableType

EXPENDABLE = (
    "Origin",
    "Checked",
    "TFLOP",
    "Strict Self A_last",
    "Seeds",
    "Minutes",
    "Others A_AUC",
    "Self A_AUC",
    "Sent/client/round",
)
"""Headings in the order in which a narrow terminal drops them."""


def as_rich(board: Board, width: int) -> RenderableType:
    """Tables for a terminal of `width` characters.

    Columns that are empty throughout a track are left out. Where the others do not fit, columns are dropped in the
    order of `EXPENDABLE`, and a caption names them.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for track, rows in board.tables.items():
        lines = cells(rows)
        kept = [index for index in range(len(COLUMNS)) if any(line[index] for line in lines)]
        dropped = _dropped(lines, kept, width)
        table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
        if dropped:
            table.caption = f"no room for {', '.join(dropped)}; see --format csv"
        shown = [index for index in kept if COLUMNS[index].heading not in dropped]
        for index in shown:
            heading = COLUMNS[index].heading
            table.add_column(_stacked(heading), justify="left" if heading in NAMES else "right", overflow="fold")
        for line in lines:
            table.add_row(*(Text(line[index]) for index in shown))
        parts += [Text(track.title, style="bold"), table]
        if floor := resolution(rows):
            parts += [Text(floor, style="dim"), Text()]
    return Group(*parts)


def _stacked(heading: str) -> str:
    return heading.replace(" ", "\n").replace("/", "/\n")


def _dropped(lines: Sequence[Sequence[str]], kept: Sequence[int], width: int) -> list[str]:
    wide = {
        COLUMNS[index].heading: 2
        + max(map(len, [*(line[index] for line in lines), *_stacked(COLUMNS[index].heading).split("\n")]))
        for index in kept
    }
    dropped: list[str] = []
    for heading in EXPENDABLE:
        if 2 + sum(wide.values()) <= width:
            break
        if wide.pop(heading, None) is not None:
            dropped.append(heading)
    return dropped


def as_text(board: Board) -> str:
    """The terminal's tables as plain text, for a file."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=160).print(as_rich(board, 160))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())

"""Leaderboard tables for a terminal, as wide as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .columns import NAMES, parts
from .notes import notes
from .ranking import Board

if TYPE_CHECKING:
    from rich.console import RenderableType

EXPENDABLE = (
    "Origin",
    "Name",
    "Checked",
    "TFLOP",
    "Strict Self A_last",
    "Seeds",
    "Minutes",
    "Others A_AUC",
    "Self A_AUC",
    "Sent/client/round",
    "Tie group",
    "Aggregated Others",
    "Aggregated Self",
    "Weighted Self",
    "Pareto front",
    "Worst client",
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

    shown: list[RenderableType] = []
    for track, rows in board.tables.items():
        shown.append(Text(track.title, style="bold"))
        for title, columns, lines in parts(rows):
            headings = [column.heading for column in columns]
            dropped = _dropped(headings, lines, width)
            table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), title=title or None, title_justify="left")
            if dropped:
                table.caption = f"no room for {', '.join(dropped)}; see --format csv"
            kept = [k for k, heading in enumerate(headings) if heading not in dropped]
            for k in kept:
                justify = "left" if headings[k] in NAMES else "right"
                table.add_column(_stacked(headings[k]), justify=justify, overflow="fold")
            for line in lines:
                table.add_row(*(Text(line[k]) for k in kept))
            shown.append(table)
        shown += [Text(note, style="dim") for note in notes(board, track)]
        shown.append(Text())
    return Group(*shown)


def _stacked(heading: str) -> str:
    return heading.replace(" ", "\n").replace("/", "/\n")


def _dropped(headings: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> list[str]:
    wide = {
        heading: 2 + max(map(len, [*(line[k] for line in lines), *_stacked(heading).split("\n")]))
        for k, heading in enumerate(headings)
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

"""A board as markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from importlib.resources import files

from . import escaping
from .columns import COLUMNS, NAMES, cells
from .entries import Track
from .ranking import Board
from .resolution import resolution


def as_markdown(board: Board) -> str:
    """One section with a table per track."""
    lines: list[str] = []
    for track, rows in board.tables.items():
        lines += [f"## {escaping.markdown(track.title)}", "", _markdown_line([column.heading for column in COLUMNS])]
        lines.append("|" + "|".join(":--" if c.heading in NAMES else "--:" for c in COLUMNS) + "|")
        lines += [_markdown_line(line) for line in cells(rows)]
        lines.append("")
        if floor := resolution(rows):
            lines += [escaping.markdown(floor), ""]
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(escaping.markdown, cells)) + " |"


def as_csv(board: Board) -> str:
    """All tracks in one file: the track's parts, then the columns; fractions, bytes, minutes and operations, "" for
    unknown."""
    records: list[dict[str, object]] = []
    for track, rows in board.tables.items():
        for place, entry in enumerate(rows, start=1):
            values = [column.raw(place, entry) for column in COLUMNS]
            record = track._asdict() | {key: value for part in values for key, value in part.items()}
            records.append({key: escaping.csv(value) for key, value in record.items()})
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]) if records else [*Track._fields], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_html(board: Board) -> str:
    """A self-contained page, without scripts and external files."""
    from jinja2 import Environment, StrictUndefined

    template = (files("drake_leaderboard") / "page.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tables = [
        {"track": track, "rows": list(zip(rows, cells(rows), strict=True)), "resolution": resolution(rows)}
        for track, rows in board.tables.items()
    ]
    return page.from_string(template).render(tables=tables, headings=[column.heading for column in COLUMNS])

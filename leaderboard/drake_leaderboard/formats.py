"""A board as markdown, CSV, JSON, HTML and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from importlib.resources import files

from . import escaping
from .columns import COLUMNS, NAMES, parts
from .entries import Row, Track
from .notes import notes
from .ranking import Board


def as_markdown(board: Board) -> str:
    """One section per track, with its tables and notes."""
    lines: list[str] = []
    for track, rows in board.tables.items():
        lines += [f"## {escaping.markdown(track.title)}", ""]
        for title, columns, cells in parts(rows):
            lines += [f"**{title}**", ""] if title else []
            lines.append(_markdown_line([column.heading for column in columns]))
            lines.append("|" + "|".join(":--" if c.heading in NAMES else "--:" for c in columns) + "|")
            lines += [*map(_markdown_line, cells), ""]
        for note in notes(board, track):
            lines += [escaping.markdown(note), ""]
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(escaping.markdown, cells)) + " |"


def _values(place: int, entry: Row) -> dict[str, object]:
    return {key: value for column in COLUMNS for key, value in column.raw(place, entry).items()}


def _metrics(board: Board, track: Track) -> str:
    return board.standings[track].metrics if track in board.standings else ""


def as_csv(board: Board) -> str:
    """All tracks in one file: the track's title and parts, then the columns; fractions, bytes, minutes and operations,
    "" for unknown."""
    records: list[dict[str, object]] = []
    for track, rows in board.tables.items():
        of_track = {"track": track.title, "metrics": _metrics(board, track)} | track._asdict()
        for place, entry in enumerate(rows, start=1):
            record = of_track | _values(place, entry)
            records.append({key: escaping.csv(value) for key, value in record.items()})
    out = io.StringIO()
    names = list(records[0]) if records else ["track", "metrics", *Track._fields]
    writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_json(board: Board) -> str:
    """{"unit", "tracks": [{"title", "track", "notes", "metrics", "rows", "differences"}]}: numbers as in the CSV file,
    null for unknown, texts as they are; plain ASCII."""
    tracks: list[dict[str, object]] = []
    for track, rows in board.tables.items():
        standing = board.standings.get(track)
        tracks.append(
            {
                "title": track.title,
                "track": track._asdict(),
                "notes": notes(board, track),
                "metrics": _metrics(board, track),
                "rows": [_values(place, entry) for place, entry in enumerate(rows, start=1)],
                "differences": [vars(found) for found in standing.differences] if standing else [],
            }
        )
    text = json.dumps({"unit": "fractions", "tracks": tracks}, indent=1, allow_nan=False)
    return text.replace("<", r"\u003c") + "\n"  # so that a page may hold it in a script element


def as_latex(board: Board) -> str:
    """A table per track and part, for the package booktabs."""
    lines = ["% \\usepackage{booktabs}"]
    for track, rows in board.tables.items():
        for title, columns, cells in parts(rows):
            caption = f"{title}: {track.title}" if title else track.title
            lines += [
                "\\begin{table}",
                "\\centering\\small",
                f"\\caption{{{escaping.latex(caption)}}}",
                f"\\begin{{tabular}}{{{''.join('l' if c.heading in NAMES else 'r' for c in columns)}}}",
                "\\toprule",
                _latex_line([column.heading for column in columns]),
                "\\midrule",
                *map(_latex_line, cells),
                "\\bottomrule",
                "\\end{tabular}",
            ]
            if not title:
                lines += [f"\\par\\smallskip {escaping.latex(note)}" for note in notes(board, track)]
            lines += ["\\end{table}", ""]
    return "\n".join(lines)


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(cell: str) -> str:
    """In braces where it begins like an argument of the line break before it."""
    plain = escaping.latex(cell)
    return f"{{{plain}}}" if plain.startswith(("[", "*")) else plain


def as_html(board: Board) -> str:
    """A self-contained page, without scripts and external files."""
    from jinja2 import Environment, StrictUndefined

    template = (files("drake_leaderboard") / "page.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tracks = [
        {"title": track.title, "rows": rows, "parts": parts(rows), "notes": notes(board, track)}
        for track, rows in board.tables.items()
    ]
    return page.from_string(template).render(tracks=tracks, names=NAMES)

"""What the first page shows: for every track a table, charts and the settings that its rows share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from drake.common.outside import shown
from drake.errors import DrakeError

from ..columns import COLUMNS, NAMES, Column, percent, readable_bytes
from ..entries import UNKNOWN, Row, Track
from ..names import REFERENCES
from ..notes import notes
from ..ranking import Board
from ..tickets import check_link
from . import charts
from .charts import COLOURS, Dot
from .curves import SIDES, Curves, chart, line

MOST_ERRORS = 40
"""Points up to which the charts of a track show standard errors."""
GREY_CURVES = 20
"""Curves beyond the coloured ones, in grey and without a name."""
TIES = "tie_group"
"""Key of the column with the letters of tie groups."""
PARTS = {
    "benchmark": "Benchmark",
    "split": "Schedule",
    "models": "Backbones",
    "preset": "Preset",
    "evaluate_at": "Evaluated",
    "numbers": "Digest of the settings",
    "fingerprint": "Fingerprint of the data",
}
"""Field of Track -> its name on the page, in the order in which tabs mention them where they differ."""


class Page(NamedTuple):
    """The page of a submission. href: relative to the first page. curves: None where it has none."""

    href: str
    curves: Curves | None


class Cell(NamedTuple):
    """text: as in every format of the board. error: the error or interval behind it, " ± 0.5" or " [1.2, 3.4]". value:
    what the script sorts by: a number, "" for unknown; None where the text decides."""

    text: str
    error: str
    value: str | None


class Head(NamedTuple):
    """A column's heading, its key in addresses, whether it holds names instead of numbers, and whether it belongs to
    what federation is worth instead of the main table."""

    text: str
    key: str
    names: bool
    worth: bool


class Entry(NamedTuple):
    """A row of the table. number: identity within the track. ties: letters of its groups of rows that cannot be told
    apart. said: how the submission calls itself; authors; link: https or ""."""

    number: str
    href: str
    reference: str
    said: str
    authors: str
    link: str
    ties: list[str]
    checked: str
    cells: list[Cell]


class Figure(NamedTuple):
    """A chart, a sentence on how to read it, and the table of its numbers; empty where the board's table has them."""

    heading: str
    svg: object
    note: str
    head: list[str]
    numbers: list[list[str]]


class Tab(NamedTuple):
    """A track as the page shows it. facts: (name, value) of everything that its rows share."""

    slug: str
    label: str
    title: str
    facts: list[tuple[str, str]]
    published: bool
    heads: list[Head]
    entries: list[Entry]
    marks: list[str]
    notes: list[str]
    figures: list[Figure]

    @property
    def tied(self) -> bool:
        return any(head.key == TIES for head in self.heads)

    @property
    def worth(self) -> bool:
        """Whether there are columns about what federation is worth."""
        return any(head.worth for head in self.heads)


def tabs(board: Board, pages: Mapping[int, Page]) -> list[Tab]:
    """The tracks of a board. pages: id() of a row -> its page; rows without one are not linked."""
    labels = _labels(list(board.tables))
    slugs = unique(slug(label) for label in labels)
    return [
        _tab(track, rows, pages, label, name, notes(board, track))
        for (track, rows), label, name in zip(board.tables.items(), labels, slugs, strict=True)
    ]


def slug(text: str) -> str:
    """A name for files and addresses: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "x"


def unique(names: Iterable[str]) -> list[str]:
    """The names, with -2, -3, ... where one occurs again."""
    found: list[str] = []
    used: set[str] = set()
    for name in names:
        number, free = 1, name
        while free in used:
            number += 1
            free = f"{name}-{number}"
        used.add(free)
        found.append(free)
    return found


def _labels(tracks: Sequence[Track]) -> list[str]:
    """Short names of tracks: benchmark and schedule, then what tells apart those that agree so far."""
    found: list[str] = []
    for track in tracks:
        if track.published:
            found.append(track.heading or track.title)
            continue
        parts = [track.benchmark, track.split]
        alike = [t for t in tracks if not t.published and (t.benchmark, t.split) == (track.benchmark, track.split)]
        for name in list(PARTS)[2:]:
            values = {getattr(other, name) for other in alike}
            if len(values) > 1:
                value = str(getattr(track, name))
                parts.append(value[:8] if name in ("numbers", "fingerprint") else value)
                alike = [other for other in alike if getattr(other, name) == getattr(track, name)]
        found.append(shown(" · ".join(filter(None, parts)), 120))
    return found


def _tab(
    track: Track, rows: Sequence[Row], pages: Mapping[int, Page], label: str, name: str, sentences: list[str]
) -> Tab:
    columns = [
        column
        for column in COLUMNS
        if _key(column, rows[0]) != "name"  # stands beside the method
        and any(column.cell(place, row) for place, row in enumerate(rows, start=1))
    ]
    heads = [
        Head(column.heading, _key(column, rows[0]), _names(column, rows), column.part == "worth") for column in columns
    ]
    entries = [_entry(place, row, columns, heads, pages.get(id(row))) for place, row in enumerate(rows, start=1)]
    facts = [(PARTS[key], shown(value)) for key, value in track._asdict().items() if value and key in PARTS]
    return Tab(
        slug=name,
        label=label,
        title=track.title,
        facts=facts,
        published=track.published,
        heads=heads,
        entries=entries,
        marks=sorted({entry.checked for entry in entries}),
        notes=sentences,
        figures=_figures(rows, pages),
    )


def _key(column: Column, row: Row) -> str:
    return next(iter(column.raw(1, row)))


def _names(column: Column, rows: Sequence[Row]) -> bool:
    """Whether a column holds texts."""
    values = (next(iter(column.raw(1, row).values())) for row in rows)
    return column.heading in NAMES or any(isinstance(value, str) and value for value in values)


def _entry(place: int, row: Row, columns: Sequence[Column], heads: Sequence[Head], page: Page | None) -> Entry:
    cells: list[Cell] = []
    for column, head in zip(columns, heads, strict=True):
        text, error = column.cell(place, row), ""
        if not head.names and (found := re.search(r" (±|\[)", text)):
            text, error = text[: found.start()], text[found.start() :]
        value = next(iter(column.raw(place, row).values()))
        cells.append(Cell(text, error, None if head.names else _number(value)))
    return Entry(
        number=str(place),
        href=page.href if page else "",
        reference=shown(row.reference),
        said=row.name,
        authors=", ".join(row.authors),
        link=https(row.link),
        ties=list(row.group),
        checked=row.checked,
        cells=cells,
    )


def _number(value: object) -> str:
    return repr(float(value)) if isinstance(value, int | float) else ""


def https(link: str) -> str:
    """The link if it is a plain https address, else "". Tickets were checked; a row may come from elsewhere."""
    try:
        check_link(link)
    except DrakeError:
        return ""
    return link


def _figures(rows: Sequence[Row], pages: Mapping[int, Page]) -> list[Figure]:
    best: dict[str, int] = {}  # method -> its best row
    for number, row in enumerate(rows):
        best.setdefault(row.display_name, number)
    colours = {method: k if k < COLOURS else None for k, method in enumerate(best)}
    return [
        *_curves(rows, pages, best, colours),
        *_self_against_others(rows, best, colours),
        *_score_against_bytes(rows, best, colours),
    ]


def _curves(
    rows: Sequence[Row], pages: Mapping[int, Page], best: Mapping[str, int], colours: Mapping[str, int | None]
) -> list[Figure]:
    found = [
        (method, number, page.curves)
        for method, number in best.items()
        if (page := pages.get(id(rows[number]))) is not None and page.curves is not None
    ][: COLOURS + GREY_CURVES]
    figures: list[Figure] = []
    for side, heading in SIDES.items():
        series = [line(curve, side, method, colours[method], str(number + 1)) for method, number, curve in found]
        if not any(one.points for one in series):
            continue
        after = sorted({int(point[0]) for one in series for point in one.points})
        numbers = [
            [
                method,
                *(percent(dict(zip(curve.rounds, curve.scores[side], strict=True)).get(a, UNKNOWN)) for a in after),
            ]
            for method, _, curve in found
        ]
        note = "The best row of each method; the band is one standard error over seeds."
        head = ["Method", *(f"Round {round_}" for round_ in after)]
        figures.append(Figure(f"{heading} over rounds", chart(side, series), note, head, numbers))
    return figures


def _dots(
    rows: Sequence[Row],
    best: Mapping[str, int],
    colours: Mapping[str, int | None],
    x: Sequence[float | None],
    x_error: bool,
) -> list[Dot]:
    """A point for every row with both numbers; y is Self A_last."""
    errors = len(rows) <= MOST_ERRORS
    found: list[Dot] = []
    for number, (row, across) in enumerate(zip(rows, x, strict=True)):
        score, other = row.scores["self_last"], row.scores["others_last"]
        if score.mean is None or across is None:
            continue
        method = row.display_name
        found.append(
            Dot(
                label=method,
                colour=colours[method],
                x=across,
                y=100 * score.mean,
                x_error=100 * other.stderr if errors and x_error and other.stderr else None,
                y_error=100 * score.stderr if errors and score.stderr else None,
                labelled=best[method] == number and colours[method] is not None,
                row=str(number + 1),
                rival=row.method not in REFERENCES,
            )
        )
    return found


def _self_against_others(
    rows: Sequence[Row], best: Mapping[str, int], colours: Mapping[str, int | None]
) -> list[Figure]:
    means = [row.scores["others_last"].mean for row in rows]
    dots = _dots(rows, best, colours, [None if mean is None else 100 * mean for mean in means], True)
    if not dots:
        return []
    x = charts.linear("Others A_last, percent", [end for dot in dots for end in _ends(dot.x, dot.x_error)])
    y = charts.linear("Self A_last, percent", [end for dot in dots for end in _ends(dot.y, dot.y_error)])
    svg = charts.scatter("Self against Others", _described(dots, "Others"), x, y, dots)
    note = "Up: better on a client's own tasks; right: better on the tasks of the others. Bars: one standard error."
    return [Figure("Self against Others", svg, note, [], [])]


def _score_against_bytes(
    rows: Sequence[Row], best: Mapping[str, int], colours: Mapping[str, int | None]
) -> list[Figure]:
    dots = _dots(rows, best, colours, [row.upload for row in rows], False)
    if not dots:
        return []
    label = "Sent by a client per round, logarithmic"
    x = charts.logarithmic(label, [dot.x for dot in dots], _short_bytes)
    y = charts.linear("Self A_last, percent", [end for dot in dots for end in _ends(dot.y, dot.y_error)])
    svg = charts.scatter("Score against bytes", _described(dots, "bytes sent"), x, y, dots, front=True)
    note = "The line joins the rows that no other row beats in both; methods whose server has all data are left out."
    return [Figure("Score against bytes", svg, note, [], [])]


def _ends(value: float, error: float | None) -> tuple[float, float]:
    return value - (error or 0), value + (error or 0)


def _short_bytes(count: float) -> str:
    return readable_bytes(count).replace(".0 ", " ")


def _described(dots: Sequence[Dot], x: str) -> str:
    first = "; ".join(f"{dot.label}: Self {dot.y:.1f}, {x} {dot.x:.4g}" for dot in dots if dot.labelled)
    return f"{len(dots)} rows. {first}. All numbers are in the table."

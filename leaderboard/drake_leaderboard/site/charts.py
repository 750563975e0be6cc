"""Charts as SVG elements for a page: lines over rounds, and points in a plane.

Colours are classes of style.css, so a chart follows the colour scheme of the page. Every chart has a title and a
description for screen readers; its numbers are in a table beside it. Texts are escaped by ElementTree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from markupsafe import Markup

WIDTH, HEIGHT = 480, 320
TOP, BOTTOM, LEFT = 14, 44, 46
LETTER = 7.0
"""Width of a letter of a label, in units of the view box; an estimate for deciding what fits."""
LINE = 13
"""Height of a label."""
COLOURS = 10
"""Number of colours in style.css; further series are grey."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Line(NamedTuple):
    """A series over rounds. colour: number of a colour, None for grey. points: (x, y). errors: standard error of each
    y, None where it is unknown. row: identity of the table row it belongs to, "" for none."""

    label: str
    colour: int | None
    points: Sequence[tuple[float, float]]
    errors: Sequence[float | None] = ()
    dashed: bool = False
    row: str = ""


class Dot(NamedTuple):
    """A point. x_error, y_error: standard errors, None where unknown. labelled: whether its label may be drawn.
    rival: whether it may be on the front."""

    label: str
    colour: int | None
    x: float
    y: float
    x_error: float | None = None
    y_error: float | None = None
    labelled: bool = True
    row: str = ""
    rival: bool = True


class Axis(NamedTuple):
    """label: under or beside the axis. low, high: ends, in data units. ticks: (value, text). place: value -> 0..1."""

    label: str
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def linear(label: str, values: Sequence[float], margin: float = 0.06) -> Axis:
    """An axis that holds the values, with round numbers as ticks."""
    low, high = min(values), max(values)
    pad = (high - low) * margin or max(abs(high) * margin, 0.5)
    low, high = low - pad, high + pad
    step = _step((high - low) / 5)
    numbers = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    ticks = [(number, f"{number:.{digits}f}") for number in numbers]
    return Axis(label, ticks, lambda value: (value - low) / (high - low))


def rounds(label: str, values: Sequence[float]) -> Axis:
    """An axis with a tick at each of the values, as many as fit."""
    distinct = sorted(set(values))
    low, high = distinct[0], distinct[-1]
    every = math.ceil(len(distinct) / 8)
    ticks = [(value, f"{value:g}") for value in distinct[::every]]
    return Axis(label, ticks, lambda value: (value - low) / (high - low) if high > low else 0.5)


def logarithmic(label: str, values: Sequence[float], text: Callable[[float], str]) -> Axis:
    """A logarithmic axis of numbers >= 0. Zero, which has no logarithm, stands apart at the left end."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.log10(min(positive)) - 0.15, math.log10(max(positive)) + 0.15
    if high - low < 1:
        low, high = low - 0.4, high + 0.4
    start = 0.12 if any(value <= 0 for value in values) else 0.0

    def place(value: float) -> float:
        return start + (1 - start) * (math.log10(value) - low) / (high - low) if value > 0 else start / 2

    factors = (1,) if high - low > 2 else (1, 2, 5)
    powers = range(math.floor(low), math.ceil(high) + 1)
    steps = [factor * 10.0**power for power in powers for factor in factors]
    inside = [step for step in steps if low <= math.log10(step) <= high]
    ticks = [(0.0, text(0.0))] if start else []
    for step in inside:  # those that leave room for their texts
        if not ticks or place(step) - place(ticks[-1][0]) > 0.13:
            ticks.append((step, text(step)))
    return Axis(label, ticks, place)


def _step(rough: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def lines(title: str, description: str, x_label: str, y_label: str, series: Sequence[Line]) -> Markup:
    """Series over rounds, with their names at the right end; a band shows one standard error."""
    series = [line for line in series if line.points]
    if not series:
        return Markup("")
    x = rounds(x_label, [point[0] for line in series for point in line.points])
    spans = [
        y + sign * (error or 0)
        for line in series
        for (_, y), error in zip(line.points, line.errors or [None] * len(line.points), strict=True)
        for sign in (-1, 1)
    ]
    named = [line for line in series if line.label and line.colour is not None]
    names = [_short(line.label) for line in named]
    right = 14 + max((LETTER * len(name) for name in names), default=0)
    frame = _Frame(title, description, x, linear(y_label, spans), right)
    for line in reversed(series):  # the first on top
        group = ET.SubElement(frame.plot, "g", _marks("series", line.colour, line.row))
        at = [frame.at(*point) for point in line.points]
        if line.colour is not None and len(at) > 1 and line.errors and all(e is not None for e in line.errors):
            edges = [
                [
                    frame.at(px, py + sign * (error or 0))
                    for (px, py), error in zip(line.points, line.errors, strict=True)
                ]
                for sign in (1, -1)
            ]
            ET.SubElement(group, "polygon", {"class": "band", "points": _path([*edges[0], *reversed(edges[1])])})
        style = {"class": "line dashed" if line.dashed else "line", "points": _path(at)}
        ET.SubElement(group, "polyline", style)
        for cx, cy in at if line.colour is not None else []:
            ET.SubElement(group, "circle", {"class": "dot", "cx": f"{cx:.1f}", "cy": f"{cy:.1f}", "r": "2.6"})
        ET.SubElement(group, "title").text = line.label
    places = _apart([frame.at(*line.points[-1])[1] for line in named], TOP + 6, HEIGHT - BOTTOM)
    for line, name, place in zip(named, names, places, strict=True):
        end = frame.at(*line.points[-1])[0]
        group = ET.SubElement(frame.plot, "g", _marks("series", line.colour, line.row))
        _text(group, end + 8, place + 4, name, "name")
    return frame.markup()


def scatter(title: str, description: str, x: Axis, y: Axis, dots: Sequence[Dot], front: bool = False) -> Markup:
    """Points with one standard error to each side. front: join the points that no other point beats on both axes,
    fewer being better on x and more on y."""
    if not dots:
        return Markup("")
    frame = _Frame(title, description, x, y, 16)
    if front:
        best = _front([(dot.x, dot.y) for dot in dots if dot.rival])
        corners: list[tuple[float, float]] = []
        for px, py in best:
            corners += [(px, corners[-1][1])] if corners else []
            corners.append((px, py))
        ET.SubElement(frame.plot, "polyline", {"class": "front", "points": _path([frame.at(*c) for c in corners])})
    taken: list[Box] = []
    at = [frame.at(dot.x, dot.y) for dot in dots]
    taken += [(cx - 4, cy - 4, cx + 4, cy + 4) for (cx, cy), dot in zip(at, dots, strict=True) if dot.labelled]
    for dot, (cx, cy) in reversed(list(zip(dots, at, strict=True))):
        if dot.x_error:
            left, right = frame.at(dot.x - dot.x_error, dot.y)[0], frame.at(dot.x + dot.x_error, dot.y)[0]
            _segment(frame.plot, "error", left, cy, right, cy, _marks("point", dot.colour, dot.row))
        if dot.y_error:
            low, high = frame.at(dot.x, dot.y - dot.y_error)[1], frame.at(dot.x, dot.y + dot.y_error)[1]
            _segment(frame.plot, "error", cx, low, cx, high, _marks("point", dot.colour, dot.row))
        marks = _marks("dot point", dot.colour, dot.row)
        circle = ET.SubElement(frame.plot, "circle", marks | {"cx": f"{cx:.1f}", "cy": f"{cy:.1f}", "r": "4"})
        ET.SubElement(circle, "title").text = dot.label
    for dot, (cx, cy) in zip(dots, at, strict=True):
        if dot.labelled and (spot := _room(cx, cy, _short(dot.label), taken)):
            group = ET.SubElement(frame.plot, "g", _marks("point", dot.colour, dot.row))
            _text(group, *spot, _short(dot.label), "name")
    return frame.markup()


class _Frame:
    """The element with axes and grid; `plot` takes the marks."""

    def __init__(self, title: str, description: str, x: Axis, y: Axis, right: float):
        self._x, self._y = x, y
        self._plot_width, self._plot_height = WIDTH - LEFT - right, HEIGHT - TOP - BOTTOM
        self._svg = ET.Element("svg", {"class": "chart", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"})
        ET.SubElement(self._svg, "title").text = title
        ET.SubElement(self._svg, "desc").text = description
        grid = ET.SubElement(self._svg, "g", {"class": "axis"})
        bottom, end = HEIGHT - BOTTOM, LEFT + self._plot_width
        for value, text in y.ticks:
            place = self.at(0, value, x_known=False)[1]
            _segment(grid, "grid", LEFT, place, end, place)
            _text(grid, LEFT - 7, place + 4, text, "tick", "end")
        for value, text in x.ticks:
            place = LEFT + x.place(value) * self._plot_width
            _segment(grid, "mark", place, bottom, place, bottom + 4)
            _text(grid, place, bottom + 17, text, "tick", "middle")
        _segment(grid, "base", LEFT, bottom, end, bottom)
        _text(grid, LEFT + self._plot_width / 2, HEIGHT - 8, x.label, "label", "middle")
        label = ET.SubElement(grid, "text", {"class": "label", "text-anchor": "middle"})
        label.set("transform", f"translate(12 {TOP + self._plot_height / 2:.1f}) rotate(-90)")
        label.text = y.label
        self.plot = ET.SubElement(self._svg, "g")

    def at(self, x: float, y: float, x_known: bool = True) -> tuple[float, float]:
        """Data -> view box."""
        across = self._x.place(x) if x_known else 0.0
        return LEFT + across * self._plot_width, TOP + (1 - self._y.place(y)) * self._plot_height

    def markup(self) -> Markup:
        return Markup(ET.tostring(self._svg, encoding="unicode"))


def _marks(kind: str, colour: int | None, row: str) -> dict[str, str]:
    found = {"class": f"{kind} {'grey' if colour is None else f's{colour}'}"}
    return found | {"data-row": row} if row else found


def _text(parent: ET.Element, x: float, y: float, text: str, kind: str, anchor: str = "start") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind, "text-anchor": anchor}
    ET.SubElement(parent, "text", place).text = text


def _segment(
    parent: ET.Element, kind: str, x1: float, y1: float, x2: float, y2: float, marks: dict[str, str] | None = None
) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    found = marks or {}
    ET.SubElement(parent, "line", found | ends | {"class": f"{kind} {found.get('class', '')}".strip()})


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _short(label: str, most: int = 18) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _apart(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least a line apart, in the same order, within low and high where they fit."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    places = list(wanted)
    last = low - LINE
    for k in order:
        places[k] = last = max(places[k], last + LINE)
    limit = high
    for k in reversed(order):
        places[k] = min(places[k], limit)
        limit = places[k] - LINE
    return places


def _room(
    cx: float, cy: float, label: str, taken: list[tuple[float, float, float, float]]
) -> tuple[float, float] | None:
    """Where a label fits beside a point without covering what is there; None if nowhere. Adds it to `taken`."""
    width = LETTER * len(label)
    for dx, dy in ((7, 4), (-7 - width, 4), (-width / 2, -8), (-width / 2, 17), (7, -6), (7, 14)):
        x, y = cx + dx, cy + dy
        box = (x, y - LINE + 3, x + width, y + 2)
        inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM + 2
        if inside and not any(b[0] < box[2] and box[0] < b[2] and b[1] < box[3] and box[1] < b[3] for b in taken):
            taken.append(box)
            return x, y
    return None


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats, from the cheapest on."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found

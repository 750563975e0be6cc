"""Pictures of results for papers and reports. The command line and notebooks call it; it reads only `drake.results`.

Every function writes PATH.png (300 dots per inch) and PATH.svg and returns both paths. Equal inputs give equal SVG
bytes. No display is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from drake.common.files import replacing
from drake.errors import DrakeError
from drake.results import Results
from drake.scoring.answers import Protocol

if TYPE_CHECKING:
    from drake.results.comparison import Difference

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: searchable, and in the font of the paper
    "svg.hashsalt": "drake",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers; markers repeat the distinction in print."""
MARKERS = "osD^vPX*"
COLUMN_WIDTH, PAGE_WIDTH = 3.3, 6.9  # inches: of one column and of the page of a two-column paper
MOST_ANNOTATED = 450  # cells; more than that and numbers no longer fit


def curves(runs: Sequence[Results], path: Path | str, protocol: Protocol = "official") -> tuple[Path, Path]:
    """Self and Others in percent over rounds, one line per run: mean over seeds, band of one standard error.

    Raises DrakeError for no runs, a run without a finished seed, or one whose seeds were evaluated at different rounds.
    """
    if not runs:
        raise DrakeError("there is no run to plot; name at least one.")
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for results, label, colour, marker in zip(runs, _labels(runs), cycle(COLOURS), cycle(MARKERS), strict=False):
            rounds, seeds = _curves_of(results, protocol)
            for panel, values in zip(panels, np.moveaxis(seeds, 1, 0), strict=True):
                mean = values.mean(axis=0)
                panel.plot(rounds, mean, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=label)
                if len(values) > 1:
                    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
                    panel.fill_between(rounds, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
        for panel, title in zip(panels, ("Self", "Others"), strict=True):
            panel.set(title=title, xlabel="Round", ylabel="Score (%)")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
        return written(figure, path)


def communication(runs: Sequence[Results], path: Path | str, protocol: Protocol = "official") -> tuple[Path, Path]:
    """Self and Others A_last against what a client sends per round, one mark per run with its standard error.

    A run that sends nothing stands at zero of a scale that is linear up to a kilobyte and logarithmic beyond.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 2.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for results, label, colour, marker in zip(runs, _labels(runs), cycle(COLOURS), cycle(MARKERS), strict=False):
            sent = [t.bytes for run in results.runs for t in run.traffic if t.direction == "up"]
            rounds = sum(len(run.train_loss) for run in results.runs)
            if not rounds:  # trained elsewhere: what was sent is not known
                continue
            kilobytes = sum(sent) / max(1, rounds * len(results.clients)) / 1000
            for panel, name in zip(panels, ("self_last", "others_last"), strict=True):
                found = results.summary[protocol][name]
                mean = np.nan if found.mean is None else 100 * found.mean
                error = 100 * (found.stderr or 0.0)
                panel.errorbar([kilobytes], [mean], [error], color=colour, marker=marker, linestyle="", label=label)
        for panel, title in zip(panels, ("Self", "Others"), strict=True):
            panel.set(title=title, xlabel="kB sent per client and round", ylabel="A_last (%)")
            panel.set_xscale("symlog", linthresh=1.0)
            panel.set_xlim(left=-0.2)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
        return written(figure, path)


def forgetting(runs: Sequence[Results], path: Path | str, protocol: Protocol = "official") -> tuple[Path, Path]:
    """How many points a client's own tasks lose between their best evaluation and the last, one bar per run with the
    standard error over seeds; below zero where later tasks helped. A run of one evaluation point has no bar."""
    with rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_WIDTH, 0.9 + 0.28 * len(runs)), layout="constrained")
        panel = figure.subplots()
        found = [results.summary[protocol]["forgetting"] for results in runs]
        means = [np.nan if e.mean is None else 100 * e.mean for e in found]
        errors = [0.0 if e.stderr is None else 100 * e.stderr for e in found]
        colours = [colour for colour, _ in zip(cycle(COLOURS), runs, strict=False)]
        panel.barh(_labels(runs), means, xerr=errors, color=colours, height=0.6)
        panel.axvline(0, color="black", linewidth=0.6)
        panel.invert_yaxis()
        panel.set(xlabel="Forgetting (points)")
        return written(figure, path)


def intervals(differences: Sequence[Difference], path: Path | str, title: str) -> tuple[Path, Path]:
    """Differences in percent with their intervals, one line per pair; hollow where zero lies inside, a bare mark where
    there is no interval."""
    from drake.results.comparison import LEVEL  # here: it loads scipy, which the other pictures do not need

    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, 0.9 + 0.2 * len(differences)), layout="constrained")
        panel = figure.subplots()
        for place, found in enumerate(differences):
            mean = 100 * found.mean
            if found.low is not None and found.high is not None:
                panel.plot([100 * found.low, 100 * found.high], [place, place], color=COLOURS[0], linewidth=1.2)
            clear = found.p is not None and found.p <= LEVEL
            panel.plot(mean, place, "o", color=COLOURS[0], markerfacecolor=COLOURS[0] if clear else "white")
        panel.axvline(0, color="black", linewidth=0.6)
        panel.set_yticks(range(len(differences)), [f"{found.a} - {found.b}" for found in differences])
        panel.invert_yaxis()
        panel.set_xlabel(title)
        return written(figure, path)


def _curves_of(results: Results, protocol: Protocol) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Rounds [T], and [seeds, 2, T]: Self and Others in percent."""
    if not results.runs:
        raise DrakeError(f"the run of {results.method.name} has no finished seed; let it finish one.")
    rounds = {tuple(run.rounds) for run in results.runs}
    if len(rounds) > 1:
        raise DrakeError(f"the seeds of {results.method.name} were evaluated at different rounds; plot them apart.")
    summaries = [run.summary[protocol] for run in results.runs]
    seeds = np.array([(summary.self_curve, summary.others_curve) for summary in summaries], dtype=np.float64)
    return rounds.pop(), 100 * seeds


def _labels(runs: Sequence[Results]) -> list[str]:
    """Method names; a method that occurs twice is numbered."""
    total, seen = Counter(run.method.name for run in runs), Counter[str]()
    labels: list[str] = []
    for name in (run.method.name for run in runs):
        seen[name] += 1
        labels.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return labels


def heatmap(
    matrix: ArrayLike,
    rows: Sequence[str],
    cols: Sequence[str],
    path: Path | str,
    title: str,
    *,
    percent: bool = False,
    diverging: bool = False,
) -> tuple[Path, Path]:
    """A [rows, cols] matrix as coloured cells with their numbers; NaN and None stay blank.

    Serves the transfer matrix, clients by tasks, relevance and CKA. percent: show fractions as percent.
    diverging: colours centred on zero, for gains and losses. Raises DrakeError when labels and matrix do not fit.
    """
    values = np.array(matrix, dtype=np.float64)
    if values.shape != (len(rows), len(cols)) or not values.size:
        raise DrakeError(
            f"the heatmap {title!r} has {len(rows)} row and {len(cols)} column names for a matrix of shape "
            f"{values.shape}; give one name per row and column."
        )
    values = 100 * values if percent else values
    digits = 1 if percent else 2
    with rc_context({**STYLE, "axes.grid": False}):
        longest = max(len(row) for row in rows)
        width = min(PAGE_WIDTH * 2, max(COLUMN_WIDTH, 1.0 + 0.06 * longest + 0.36 * len(cols)))
        figure = Figure(figsize=(width, max(1.8, 1.4 + 0.24 * len(rows))), layout="constrained")
        panel = figure.subplots()
        largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        limits = (-largest, largest) if diverging else (None, None)
        colours = colormaps["RdBu" if diverging else "viridis"].with_extremes(bad="#eeeeee")
        image = panel.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        panel.set_xticks(range(len(cols)), cols, rotation=60, ha="right", rotation_mode="anchor")
        panel.set_yticks(range(len(rows)), rows)
        panel.set_title(title)
        if values.size <= MOST_ANNOTATED:
            for row, col in np.argwhere(np.isfinite(values)):
                red, green, blue, _ = image.cmap(image.norm(values[row, col]))
                ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
                number = f"{values[row, col]:.{digits}f}"
                cell = panel.text(col, row, number, ha="center", va="center", fontsize=5.5, color=ink)
                cell.set_in_layout(False)  # it lies within the panel; measuring hundreds of them takes seconds
        figure.colorbar(image, ax=panel, label="%" if percent else "")
        return written(figure, path)


def written(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """PATH.png and PATH.svg, whatever suffix of the two PATH came with."""
    FigureCanvasAgg(figure)
    base = Path(path)
    base = base.with_suffix("") if base.suffix in (".png", ".svg") else base
    written: list[Path] = []
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
        target = base.with_name(base.name + suffix)
        with replacing(target) as temporary:
            figure.savefig(temporary, dpi=300, metadata=metadata)
        figure.set_layout_engine("none")  # the second file has the places of the first
        written.append(target)
    return written[0], written[1]

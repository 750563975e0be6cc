"""A diagram of methods on one axis whose bars join those that cannot be told apart, in the style of `plots`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from drake.errors import DrakeError
from drake.results.plots import COLOURS, PAGE_WIDTH, STYLE, written


def tie_groups(
    names: Sequence[str], scores: Sequence[float], groups: Sequence[str], path: Path | str, title: str
) -> tuple[Path, Path]:
    """Like a critical-difference diagram (Demšar, JMLR 7, 2006), with scores in place of ranks and paired differences
    in place of one critical distance.

    names, scores: of the methods, best first. groups: the letters of each (`comparison.groups`); methods with a common
    letter are joined by a bar above the axis with a dot for each of them. title: of the axis. DrakeError for lists of
    different lengths.
    """
    if not len(names) == len(scores) == len(groups) or not names:
        raise DrakeError("a diagram of ties needs one score and one group for every method, and at least one method.")
    bars = bars_of(groups)
    half = (len(names) + 1) // 2
    height = 0.9 + 0.17 * half + 0.1 * len(bars)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        panel = figure.subplots()
        low, high = min(scores), max(scores)
        span = (high - low) or 1.0
        panel.set(xlim=(low - 0.45 * span, high + 0.45 * span), ylim=(-half - 0.5, 0.8 + 0.5 * len(bars)))
        panel.spines["left"].set_visible(False)
        panel.spines["bottom"].set_visible(False)
        panel.set_yticks([])
        panel.set_xlabel(title)
        panel.axhline(0, color="black", linewidth=0.8)
        for place, (name, score, group) in enumerate(zip(names, scores, groups, strict=True)):
            # The better half is named at the right, the other at the left, the outermost highest.
            right = place < half
            level = -(place + 1 if right else len(names) - place)
            edge = high + 0.08 * span if right else low - 0.08 * span
            panel.plot([score, score, edge], [0, level, level], color="black", linewidth=0.6)
            panel.plot(score, 0, "o", color=COLOURS[0], markersize=3.5)
            text = f" {name} {score:.2f} ({group})" if right else f"{name} {score:.2f} ({group}) "
            panel.text(edge, level, text, ha="left" if right else "right", va="center")
        for level, places in enumerate(bars):
            joined = [scores[place] for place in places]
            panel.plot(joined, [0.5 + 0.5 * level] * len(joined), "o-", color=COLOURS[1], linewidth=1.5, markersize=3.5)
        return written(figure, path)


def bars_of(groups: Sequence[str]) -> list[list[int]]:
    """The places of the methods of each letter that several have, in the order of the letters."""
    from drake.results.comparison import letters_of  # here: it loads scipy

    letters = sorted({letter for group in groups for letter in letters_of(group)}, key=lambda x: (len(x), x))
    places = [[k for k, group in enumerate(groups) if letter in letters_of(group)] for letter in letters]
    return [found for found in places if len(found) > 1]

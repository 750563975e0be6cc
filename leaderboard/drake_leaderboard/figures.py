"""`drake leaderboard --plots`: for every track whose rows are compared, its tie groups and its differences."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from drake.results.plots import intervals
from drake.results.tie_plots import tie_groups

from .ranking import Board

MOST_PAIRS = 45
"""Beyond this number of pairs only those with the best row are drawn."""


def draw(board: Board, folder: Path) -> list[Path]:
    """Write <number>-<track>-ties and <number>-<track>-differences, each as .png and .svg; returns the paths."""
    written: list[Path] = []
    for number, (track, standing) in enumerate(board.standings.items(), start=1):
        if not standing.differences:
            continue
        rows = [
            (label, entry)
            for label, entry in zip(standing.labels, board.tables[track], strict=True)
            if entry.group and entry.scores["self_last"].mean is not None
        ]
        plain = re.sub(r"[^a-z0-9]+", "-", track.title.lower())[:60]
        base = f"{number}-{plain}".rstrip("-")
        scores = [100 * (entry.scores["self_last"].mean or 0.0) for _, entry in rows]
        names, groups = [_plain(label) for label, _ in rows], [entry.group for _, entry in rows]
        written += tie_groups(names, scores, groups, folder / f"{base}-ties", "Self A_last (%)")
        found = [replace(found, a=_plain(found.a), b=_plain(found.b)) for found in standing.differences]
        if len(found) > MOST_PAIRS:
            found = [difference for difference in found if names[0] in (difference.a, difference.b)]
        title = "Difference of Self A_last (points), 95% interval; filled: told apart after Holm's correction"
        written += intervals(found, folder / f"{base}-differences", title)
    return written


def _plain(label: str) -> str:
    """For matplotlib, which takes text between dollars for mathematics."""
    return label.replace("$", r"\$")

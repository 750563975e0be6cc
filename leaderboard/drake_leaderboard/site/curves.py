"""Scores of a run over its evaluation points, averaged over seeds: what the curves of the site show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drake.results import Estimate, Results, SeedSummary, estimate
from drake.scoring.answers import Protocol

from .charts import Line, lines

SIDES = {"self_curve": "Self", "others_curve": "Others"}
"""Field of SeedSummary -> heading."""


class Curves(NamedTuple):
    """rounds: [T], finished at each evaluation point. scores: field of SeedSummary -> [T] estimates, fractions."""

    rounds: list[int]
    scores: dict[str, list[Estimate]]


def curves(results: Results, protocol: Protocol = "official", aggregated: bool = False) -> Curves | None:
    """The curves of a run; None where seeds were evaluated at different rounds, or lack such scores.

    aggregated: after the server's aggregation, in a run that was evaluated before it and after it.
    """
    runs = results.runs
    if not runs or any(run.rounds != runs[0].rounds or not run.rounds for run in runs):
        return None
    summaries: list[SeedSummary] = []
    for run in runs:
        found = run.summary if not aggregated else run.aggregated.summary if run.aggregated else {}
        if protocol not in found:
            return None
        summaries.append(found[protocol])
    points = range(len(runs[0].rounds))
    scores = {side: [estimate([getattr(summary, side)[t] for summary in summaries]) for t in points] for side in SIDES}
    return Curves(list(runs[0].rounds), scores)


def line(found: Curves, side: str, label: str, colour: int | None, row: str = "", dashed: bool = False) -> Line:
    """One curve in percent; points without a score are left out."""
    known = [
        (after, score) for after, score in zip(found.rounds, found.scores[side], strict=True) if score.mean is not None
    ]
    points = [(float(after), 100 * (score.mean or 0.0)) for after, score in known]
    errors = [None if score.stderr is None else 100 * score.stderr for _, score in known]
    return Line(label, colour, points, errors, dashed, row)


def chart(side: str, series: Sequence[Line]) -> object:
    """The chart of one side."""
    heading = SIDES[side]
    described = "; ".join(
        f"{found.label}: " + ", ".join(f"{y:.1f} after round {x:g}" for x, y in found.points)
        for found in series
        if found.label
    )
    return lines(f"{heading} over rounds", described, "Rounds finished", f"{heading}, percent", series)

"""How near the mini suite is to the paper: the order of the methods, and their levels, beside its Table 2.

    python experiments/agreement.py runs/tables

DIR holds the runs of `experiments/tables.py methods`. Printed: Self and Others A_last of both, and Kendall's tau-b
between the two orders with a 95% interval, percentiles of a bootstrap that draws methods and, of this suite, seeds
(the paper prints no scores by seed). A tau near zero, or an interval that holds it, means that the order here says
nothing about the order there.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from drake import results

TABLE = "table-2"
RESAMPLES = 4000


def published(side: str) -> dict[str, float]:
    """Method in lower case -> A_last in percent of the paper's table. side: "self" or "others"."""
    data = tomllib.loads((files("drake_leaderboard") / "published.toml").read_text(encoding="utf-8"))
    (rows,) = (table["row"] for table in data["table"] if table["id"] == TABLE)
    return {row["method"].lower(): row[side] for row in rows}


def measured(folder: Path, side: str) -> dict[str, NDArray[np.float64]]:
    """Method -> A_last in percent, seed by seed, of the finished runs that lie in the folder."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in published("self"):
        if (folder / name / results.FILE).exists():
            run = results.load(folder / name)
            if run.status != "complete":
                continue
            found[name] = np.array([100 * getattr(s.summary["official"], f"{side}_last") for s in run.runs])
    return found


def tau(there: Mapping[str, float], here: Mapping[str, NDArray[np.float64]]) -> tuple[float, float, float]:
    """Kendall's tau-b over the common methods, and its 95% interval."""
    names = [name for name in here if name in there]
    paper = np.array([there[name] for name in names])
    value = float(stats.kendalltau(paper, [here[name].mean() for name in names]).statistic)
    rng = np.random.default_rng(0)
    drawn: list[float] = []
    while len(drawn) < RESAMPLES:
        of = rng.integers(len(names), size=len(names))
        ours = np.array([rng.choice(here[name], size=len(here[name])).mean() for name in names])
        found = stats.kendalltau(paper[of], ours[of]).statistic
        if not np.isnan(found):  # all draws of one method
            drawn.append(float(found))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return value, float(low), float(high)


def table(folder: Path) -> str:
    """Markdown: a row for each method, then the two taus."""
    sides = ("self", "others")
    there, here = {s: published(s) for s in sides}, {s: measured(folder, s) for s in sides}
    lines = ["| | Self, here | Self, paper | Others, here | Others, paper |", "|---|---:|---:|---:|---:|"]
    for name in sorted(here["self"], key=lambda name: -there["self"][name]):
        cells = [f"{v:.1f}" for s in sides for v in (here[s][name].mean(), there[s][name])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for side in sides:
        value, low, high = tau(there[side], here[side])
        lines.append(f"\n{side.capitalize()}: Kendall's tau {value:+.2f}, 95% interval {low:+.2f} to {high:+.2f}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(table(parser.parse_args().folder))


if __name__ == "__main__":
    main()

"""`drake plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drake.cli.compare import PROTOCOL, SIDE

if TYPE_CHECKING:
    from drake.results.comparison import Side
    from drake.scoring.answers import Protocol

SEEDS, TIMES = (3, 5, 10, 20), (1, 2, 4)


@click.command()
@click.argument("runs", nargs=2, type=click.Path(path_type=Path))
@click.option("--difference", type=click.FloatRange(0, 100, min_open=True), help="In points: how many seeds show it?")
@click.option(
    "--power", type=click.FloatRange(0.05, 0.99), default=0.8, show_default=True, help="How surely it is shown."
)
@SIDE
@PROTOCOL
def plan(runs: tuple[Path, Path], difference: float | None, power: float, side: Side, protocol: Protocol) -> None:
    """Tell how many seeds and questions a difference between two methods needs.

    Two runs of one track, with three seeds or more, say how much their difference varies between seeds, clients and
    questions. From that follows the smallest true difference that a comparison with more seeds or more questions would
    show.

    \b
    Examples:
      drake plan runs/sft-mini runs/fedmosaic-mini
      drake plan runs/sft-mini runs/ditto-mini --difference 2 --score others
    """
    from rich.console import Console
    from rich.table import Table

    from drake.results import load
    from drake.results.comparison import answers_of
    from drake.results.planning import MOST_SEEDS, components

    a, b = (answers_of(run, load(run), side, protocol) for run in runs)
    found = components(a, b)
    title = f"smallest difference in {side.capitalize()} A_last that is shown with {power:.0%} power, points"
    table = Table(title=title, title_justify="left")
    table.add_column("seeds", justify="right")
    for times in TIMES:
        table.add_column("these questions" if times == 1 else f"{times} times as many", justify="right")
    for seeds in SEEDS:
        table.add_row(str(seeds), *(f"{100 * found.smallest(seeds, times, power):.2f}" for times in TIMES))
    Console().print(table)
    if difference is not None:
        needed = found.seeds_for(difference / 100, power=power)
        answer = (
            f"needs {needed} seeds with these questions."
            if needed is not None
            else f"is not shown by {MOST_SEEDS} seeds: what is left is how much the {found.number} clients and their "
            "questions differ, which more seeds do not change; ask more questions or take more clients."
        )
        click.echo(f"A difference of {difference:g} points {answer}")

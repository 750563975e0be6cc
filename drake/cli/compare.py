"""`drake compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drake.cli.params import POSITIVE

if TYPE_CHECKING:
    from drake.results.comparison import Side
    from drake.scoring.answers import Protocol

SIDE = click.option(
    "--score",
    "side",
    type=click.Choice(["self", "others"]),
    default="self",
    show_default=True,
    help="A_last on a client's own tasks, or on those of the others.",
)
PROTOCOL = click.option(
    "--protocol",
    type=click.Choice(["official", "strict"]),
    default="official",
    show_default=True,
    help="How answers are read: as the released code reads them, or by equality.",
)
"""Which score of two runs is compared; for `drake plan` too."""


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@SIDE
@PROTOCOL
@click.option("--resamples", type=POSITIVE, default=2000, show_default=True, help="Draws of clients and questions.")
@click.option("--out", type=click.Path(path_type=Path), help="Also draw the differences, as PATH.png and PATH.svg.")
def compare(runs: tuple[Path, ...], side: Side, protocol: Protocol, resamples: int, out: Path | None) -> None:
    """Tell which of several runs are better: paired differences with 95% intervals, and groups that cannot be told
    apart.

    The runs must have answered the same questions with the same seeds. With two seeds there is a difference but no
    interval and no verdict.

    \b
    Examples:
      drake compare runs/sft-mini runs/fedmosaic-mini
      drake compare runs/* --score others --out differences
    """
    from rich.console import Console

    from drake.cli.statistics_tables import difference_table
    from drake.errors import DrakeError
    from drake.results import load
    from drake.results.comparison import all_pairs, answers_of, groups
    from drake.results.plots import intervals

    if len(runs) < 2:
        raise DrakeError("one run has nothing to be compared with; name two or more.")
    answers = [answers_of(run, load(run), side, protocol) for run in runs]
    if len({found.name for found in answers}) < len(answers):
        raise DrakeError("two of the runs have the same folder name; rename one of the folders.")
    answers.sort(key=lambda found: -float(found.means().mean()))
    differences = all_pairs(answers, resamples)
    means = {found.name: float(found.means().mean()) for found in answers}
    letters = groups([found.name for found in answers], differences)
    Console().print(difference_table(means, letters, differences, side, protocol))
    if out is not None:
        for path in intervals(differences, out, f"{side.capitalize()} A_last, points"):
            click.echo(path)

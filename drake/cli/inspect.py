"""`drake show`, `plot`, `diff`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drake.cli.compare import PROTOCOL

if TYPE_CHECKING:
    from drake.scoring.answers import Protocol

SHOWN = 8
"""Settings that `drake diff` names before it counts the rest."""


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
def diff(run_a: Path, run_b: Path) -> None:
    """Print where two runs first differ: settings, losses, messages, relevance, answers.

    Exit code 0 when all results are the same, 1 otherwise.

    \b
    Example:
      drake diff runs/monday runs/tuesday
    """
    from drake.tools.diff import compare

    found = compare(run_a, run_b)
    if found.settings:
        more = len(found.settings) - SHOWN
        click.echo("settings that differ (first run, second run):")
        for line in found.settings[:SHOWN]:
            click.echo(f"  {line}")
        if more > 0:
            click.echo(f"  and {more} more")
    if found.first is None:
        compared = ", ".join(f"{total:,} {kind}" for kind, (_, total) in found.counts.items())
        click.echo(f"the same to the last digit: {compared}.")
        return
    click.echo(f"first difference: {found.first}")
    parts = [f"{n:,} of {total:,} {kind}" for kind, (n, total) in found.counts.items() if n]
    click.echo(f"in all {', '.join(parts)} differ.")
    sys.exit(1)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("plots"), show_default=True, help="Folder to fill."
)
@PROTOCOL
def plot(runs: tuple[Path, ...], out: Path, protocol: Protocol) -> None:
    """Draw runs as PNG and SVG: scores over rounds, traffic against score, forgetting; for each run clients by tasks
    and relevance.

    \b
    Example:
      drake plot runs/sft runs/fedmosaic --out plots
    """
    from drake.results import load
    from drake.tools.figures import draw

    for path in draw([(run.resolve().name, load(run)) for run in runs], out, protocol):
        click.echo(path)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--worst", default=5, show_default=True, type=click.IntRange(1), help="How many of the worst tasks to show."
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a page with wrong answers and their pictures.",
)
@click.option("--data", help="Dataset folder or repository of the run.  [default: the embedded mini suite]")
def show(run: Path, worst: int, html: Path | None, data: str | None) -> None:
    """Summarise a run: scores, the worst of the clients' own tasks, and with --html what was answered wrongly.

    \b
    Example:
      drake show runs/fedmosaic --html fedmosaic.html
    """
    from rich.console import Console

    from drake.cli.tables import summary_table
    from drake.results import load
    from drake.tools.page import own_tasks, worst_lines, write_page

    results = load(run)
    Console().print(summary_table(results))
    click.echo("own tasks with the lowest scores:")
    for line in worst_lines(own_tasks(results), worst):
        click.echo(line)
    if html is not None:
        from drake.common.files import replacing
        from drake.results.dataset import dataset_of

        page = write_page(run, results, dataset_of(results, data), worst)
        with replacing(html) as temporary:
            temporary.write_text(page, encoding="utf-8")
        click.echo(f"wrote {html}")

"""`drake check-source`. Parse, call, print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from drake.data.checks import Finding


@click.command("check-source")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), help="Records to read of each split.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="Seed of sources that draw records or test splits.")
def check_source(source: str, limit: int | None, seed: int) -> None:
    """Read every record of a source and list what is wrong, task by task. Nothing is written.

    SOURCE: what `drake build --source` takes: mini, release:PATH, folder:PATH or a path. Checked are: whether the
    gold answers score as right, whether every <image> has a picture that can be read, and whether a record is in both
    train and test.

    Exit code 1 when something must be corrected before the source is used.

    \b
    Example:
      drake check-source my-data
      drake check-source release:~/drake-release --limit 100
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from drake.data.checks import check
    from drake.data.sources import open_source

    opened = open_source(source, seed)
    with Console(stderr=True).status("reading records"):
        report = check(opened, limit)
    table = Table("task", "metric", "train", "test", "commonest answer", "findings")
    for task in report.tasks:
        state = "broken" if task.broken else str(len(task.findings) or "none")
        table.add_row(
            escape(task.task), task.metric, str(task.train), str(task.test), f"{100 * task.majority:.0f}%", state
        )
    console = Console()
    if report.tasks:
        console.print(table)
    for finding in report.findings:
        _show(opened.name, finding)
    for task in report.tasks:
        for finding in task.findings:
            _show(task.task, finding)
    if report.broken:
        click.echo("Broken: mend what is marked so, then check again.", err=True)
        sys.exit(1)
    click.echo("Nothing must be mended.")


def _show(of: str, finding: Finding) -> None:
    mark = "broken" if finding.broken else "note"
    text = f"{mark}: {of}: {finding.what} ({finding.count:,}), first: {finding.example}"
    click.echo("".join(letter if letter.isprintable() else " " for letter in text))

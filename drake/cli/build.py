"""`drake build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drake.cli.params import NOT_NEGATIVE

_OF_SOURCES = ("train", "test", "public_per_world", "public_records", "tasks", "links_to")
"""Options that some sources have."""


@click.command()
@click.option(
    "--source",
    default="mini",
    show_default=True,
    help="mini, hub:OWNER/NAME[@REVISION] (a release on the Hugging Face Hub), release:PATH, folder:PATH (your own "
    "data), raw:PATH (published source data sets), another registered NAME[:ARGUMENT], or a PATH alone.",
)
@click.option(
    "--split",
    default="dynamic",
    show_default=True,
    help="The schedule: dynamic, static, dirichlet or dirichlet-across; the first two are always stored.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to write. [default: data/ and the source's name]"
)
@click.option(
    "--seed", type=NOT_NEGATIVE, default=0, show_default=True, help="Seed of the scenes, the order and the schedule."
)
@click.option(
    "--train",
    type=int,
    help="Train records per task, of sources that make or draw them.  [default: the source's; 400 of mini]",
)
@click.option(
    "--test",
    type=int,
    help="Test records per task, of sources that make or draw them.  [default: the source's; 100 of mini]",
)
@click.option("--public-per-world", type=int, help="Public records per mini world.  [default: 400]")
@click.option("--public-records", type=int, help="Public records of the stand-in of another benchmark.  [default: 128]")
@click.option(
    "--public",
    help="Public records of another source, such as llava-mix:FOLDER. Not for releases: see drake eval --public.",
)
@click.option(
    "--public-most", type=NOT_NEGATIVE, default=5000, show_default=True, help="How many of them are drawn; 0 for all."
)
@click.option("--rounds-per-task", default=5.0, show_default=True, help="Rounds a task lasts.")
@click.option("--alpha", default=0.5, show_default=True, help="Concentration of the Dirichlet splits.")
@click.option(
    "--tasks", metavar="TASKS", help="Of a release or raw:PATH, these tasks or sources only, such as NLVR2-0,VSR."
)
@click.option(
    "--links-to", metavar="FOLDER", help="A folder that links among your own files may lead to, on another disk say."
)
@click.option("--commercial-only", is_flag=True, help="Keep only tasks whose licence is known to allow commercial use.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset folder at --out.")
def build(**options: Any) -> None:
    """Write DRAKE, another benchmark or your own data as a dataset folder that `datasets.load_dataset` opens.

    The archives of a release on the Hub are downloaded one by one and deleted when they are built. A build of a release
    that is stopped at any moment goes on when it is started again.

    \b
    Example:
      drake build --split dynamic --out data/mini
      drake build --source hub:SNUMPR/DRAKE --out data/drake
      drake build --source release:~/drake-release --split static --out data/drake
      drake build --source my-data
    """
    for name in _OF_SOURCES:
        if options[name] is None:  # only sources that have such an option are given it
            del options[name]

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from drake.data.building import build as build_dataset
    from drake.data.sources import open_source

    of_source = {name: options.pop(name) for name in _OF_SOURCES if name in options}
    source = open_source(options.pop("source"), options["seed"], **of_source)
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
    if source.in_stages:
        columns += [DownloadColumn(), TransferSpeedColumn()]
    columns.append(TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=60) as bars:
        bar = bars.add_task("building", total=None)

        def show(done: int, total: int, what: str) -> None:
            bars.update(bar, completed=done, total=total or None, description=what)

        try:
            folder = build_dataset(
                source, progress=show, warn=lambda text: click.echo(f"Note: {text}", err=True), **options
            )
        except KeyboardInterrupt:
            if source.in_stages:
                click.echo("What is finished is kept: start the same build again to go on.", err=True)
            raise
    click.echo(f"{folder} is ready: datasets.load_dataset({str(folder)!r}), or drake eval --data {folder}")

"""`drake build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drake.cli.params import NOT_NEGATIVE


@click.command()
@click.option(
    "--source",
    default="mini",
    show_default=True,
    help="mini, release:PATH, folder:PATH (your own data), another registered NAME[:ARGUMENT], or a PATH alone.",
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
@click.option("--train", type=int, help="Records per mini task to train on.  [default: 400]")
@click.option("--test", type=int, help="Records per mini task to test on.  [default: 100]")
@click.option("--public-per-world", type=int, help="Public records per mini world.  [default: 400]")
@click.option("--public", help="Public records of another source, such as llava-mix:FOLDER.")
@click.option(
    "--public-most", type=NOT_NEGATIVE, default=5000, show_default=True, help="How many of them are drawn; 0 for all."
)
@click.option("--rounds-per-task", default=5.0, show_default=True, help="Rounds a task lasts.")
@click.option("--alpha", default=0.5, show_default=True, help="Concentration of the Dirichlet splits.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset folder at --out.")
def build(**options: Any) -> None:
    """Write DRAKE as a dataset folder that `datasets.load_dataset` opens.

    \b
    Example:
      drake build --split dynamic --out data/mini
      drake build --source release:~/drake-release --split static --out data/drake
      drake build --source my-data
    """
    for name in ("train", "test", "public_per_world"):
        if options[name] is None:  # only sources that have such an option are given it
            del options[name]

    from rich.console import Console
    from rich.progress import Progress

    from drake.data.building import build as build_dataset

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("building", total=None)

        def show(done: int, total: int, what: str) -> None:
            bars.update(bar, completed=done, total=total or None, description=what)

        folder = build_dataset(progress=show, warn=lambda text: click.echo(f"Note: {text}", err=True), **options)
    click.echo(f"{folder} is ready: datasets.load_dataset({str(folder)!r}), or drake eval --data {folder}")

"""`drake build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from drake.cli.params import NOT_NEGATIVE
from drake.errors import DrakeError


@click.command()
@click.option("--source", default="mini", show_default=True, help='"mini", or a folder in the release\'s layout.')
@click.option(
    "--split",
    default="dynamic",
    show_default=True,
    help="The schedule: dynamic, static, dirichlet or dirichlet-across; the first two are always stored.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to write. [default: data/mini or data/release]"
)
@click.option(
    "--seed", type=NOT_NEGATIVE, default=0, show_default=True, help="Of the scenes, the order and the schedule."
)
@click.option("--train", default=400, show_default=True, help="Records per mini task to train on.")
@click.option("--test", default=100, show_default=True, help="Records per mini task to test on.")
@click.option("--public-per-world", default=400, show_default=True, help="Public records per mini world.")
@click.option("--rounds-per-task", default=5.0, show_default=True, help="Rounds a task lasts.")
@click.option("--alpha", default=0.5, show_default=True, help="Of the Dirichlet distribution.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --out.")
@click.pass_context
def build(ctx: click.Context, **options: Any) -> None:
    """Write DRAKE as a dataset folder that `datasets.load_dataset` opens.

    \b
    drake build --split dynamic --out data/mini
    drake build --source ~/drake-release --split static --out data/drake
    """
    if options["source"] != "mini":
        for name in ("train", "test", "public_per_world"):
            if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = "--" + name.replace("_", "-")
                raise DrakeError(f"{option} is for the mini suite only; a release is taken whole: leave it out.")

    from rich.console import Console
    from rich.progress import Progress

    from drake.data.building import build as build_dataset

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("building", total=None)

        def show(done: int, total: int, what: str) -> None:
            bars.update(bar, completed=done, total=total or None, description=what)

        folder = build_dataset(progress=show, **options)
    click.echo(f"{folder} is ready: datasets.load_dataset({str(folder)!r}), or drake eval --data {folder}")

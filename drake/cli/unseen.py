"""`drake unseen` and `drake adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drake.cli.compare import PROTOCOL
from drake.cli.params import NAMES, NOT_NEGATIVE, SEEDS, Resumable

if TYPE_CHECKING:
    from drake.scoring.answers import Protocol


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@PROTOCOL
@click.option("--by-client", is_flag=True, help="Also print a table of each run's clients.")
@click.option("--out", type=click.Path(path_type=Path), help="Also draw the table, as OUT.png and OUT.svg.")
def unseen(runs: tuple[Path, ...], protocol: Protocol, by_client: bool, out: Path | None) -> None:
    """Compare runs on the tasks that no client trains on, after the last round and before training.

    \b
    Example:
      drake unseen runs/sft runs/fedit runs/fedmosaic --out plots/unseen
    """
    from rich.console import Console

    from drake.cli.unseen_tables import client_table, unseen_table
    from drake.results import load
    from drake.results.unseen_plots import unseen_bars
    from drake.tools.unseen import unseen as scores_of

    results = {run.resolve().name: load(run) for run in runs}
    found = {name: scores_of(one, protocol) for name, one in results.items()}
    console = Console()
    console.print(unseen_table(found))
    for name, one in found.items() if by_client else ():
        console.print(client_table(name, results[name], one))
    if out is not None:
        bars = {name: (one.last.mean((1, 2)), float(one.zero_shot.mean())) for name, one in found.items()}
        click.echo(unseen_bars(bars, out)[0])


@click.command(cls=Resumable)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--adapt-steps", "steps", type=SEEDS, metavar="STEPS,...", default="0,10,50", show_default=True,
    help="Optimizer steps on each task; 0 for none.",
)  # fmt: skip
@click.option(
    "--eval-records", "records", type=NOT_NEGATIVE, default=20, show_default=True,
    help="Test records of each task that are answered; 0 for all.",
)  # fmt: skip
@click.option("--tasks", type=NAMES, help="Unseen tasks, comma-separated. [default: all that have train records]")
@click.option("--method", help='The run\'s method, required where it is a "module:Class".')
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the answers and scores. [default: RUN-adapt]")
def adapt(
    run: Path, steps: tuple[int, ...], records: int, tasks: tuple[str, ...] | None, method: str | None, out: Path | None
) -> None:
    """Train every client's final model of a run for a few steps on each task that nobody has trained on, and score it.

    The run keeps its models as they are. A stopped command continues.

    \b
    Example:
      drake adapt runs/fedmosaic-mini
      drake adapt runs/fedmosaic-mini --adapt-steps 0,5,20 --eval-records 50
    """
    from rich.console import Console
    from rich.progress import Progress
    from transformers.utils import logging

    from drake.cli.evaluate import of_run_folder
    from drake.cli.unseen_tables import adaptation_table
    from drake.config import resolve
    from drake.results.unseen_plots import adaptation_curves
    from drake.runs.api import opened_for, prepare
    from drake.runs.folder import config_of, method_of
    from drake.tools.adapt import FILE, store
    from drake.tools.adapt import adapt as adapted

    logging.disable_progress_bar()
    file, folder = config_of(run), run.with_name(f"{run.name}-adapt") if out is None else out
    flags = {"method": method_of(run, method), "feature_cache": None, "feature_cache_gb": None}
    config = of_run_folder(resolve(file, flags), run, flags)
    asked = {"evaluation.unseen": "last", "evaluation.records_unseen": records or ALL}
    console = Console(stderr=True)
    with console.status("loading data and backbones"):
        setup = prepare(config.with_(**asked), run)
    with Progress(console=console, transient=True) as bars, opened_for(setup) as engines:
        bar = bars.add_task("adapting", total=None)

        def show(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total)

        found = adapted(setup, run, folder, steps, engines, tasks, show)
    store(found, folder / FILE)
    picture, _ = adaptation_curves(
        found.steps, found.tasks, found.scores["official"], folder / "adapt.png", f"{config.method}: unseen tasks"
    )
    Console().print(adaptation_table(config.method, found))
    if found.left_out:
        click.echo(f"Left out, without train records: {', '.join(found.left_out)}.")
    click.echo(f"{folder / FILE}, {picture}")


ALL = 1 << 31
"""More test records than a task has."""

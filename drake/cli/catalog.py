"""`drake methods`, `drake benchmarks` and `drake backbones`."""

from __future__ import annotations

from pathlib import Path

import click

from drake.cli.params import NOT_NEGATIVE
from drake.federation import registry


@click.command()
def methods() -> None:
    """List the methods that `drake eval` knows.

    \b
    Example:
      drake methods
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "sends", "cost of a step", "mixed sizes and families", "presets", "reference")
    for name in registry.names():
        found = registry.find(name)
        cost, mixed, presets = f"{found.relative_cost:.2f}", "yes" if found.mixed else "no", ("drake", *found.presets)
        table.add_row(name, found.sends, cost, mixed, ", ".join(presets), found.reference)
    Console().print(table)


@click.command("benchmarks")
@click.argument("name", required=False)
def list_benchmarks(name: str | None) -> None:
    """List the benchmarks that --benchmark takes; with NAME, what is known of one and what was chosen.

    \b
    Examples:
      drake benchmarks
      drake benchmarks glue
    """
    from rich.console import Console
    from rich.table import Table

    from drake.catalog import benchmark, benchmarks

    if name is not None:
        found = benchmark(name)
        click.echo(f"{found.title}: {len(found.clients)} clients, {len(found.tasks)} tasks")
        for title, lines in (("Known", found.facts), ("Chosen, not known", found.choices)):
            if lines:
                click.echo(f"\n{title}")
            for line in lines:
                click.echo(f"  - {line}")
        click.echo("\nReal data\n  " + "\n  ".join(f"drake build --source {source}" for source in found.build))
        return
    table = Table()
    for title in ("name", "clients", "tasks", "without --data", "metrics"):
        table.add_column(title, no_wrap=title in ("name", "without --data"))
    for name, found in benchmarks().items():
        numbers = str(len(found.clients)), str(len(found.tasks))
        table.add_row(name, *numbers, found.stand_in, ", ".join(found.metric_names))
    Console().print(table)


@click.group()
def backbones() -> None:
    """List the backbones, or make the tiny ones.

    \b
    Example:
      drake backbones list
      drake backbones train tiny-llama-s --vision backbones/vision.safetensors
    """


@backbones.command("list")
def list_backbones() -> None:
    """List the names that --models takes.

    \b
    Example:
      drake backbones list
    """
    from rich.console import Console
    from rich.table import Table

    from drake.catalog import models

    table = Table("name", "family", "where")
    for name, model in models().items():
        table.add_row(name, model.family, "in this package" if model.embedded else str(model.hub_id))
    Console().print(table)


@backbones.command("train")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write. [default: backbones/NAME]")
@click.option("--seed", type=NOT_NEGATIVE, default=0, show_default=True, help="Seed of everything drawn at random.")
@click.option(
    "--vision", type=click.Path(dir_okay=False, path_type=Path), help="The trained vision tower, or where to keep it."
)
@click.option(
    "--medium",
    type=click.Path(file_okay=False, path_type=Path),
    help="For a small backbone: the medium one it is cut from, made there if it is missing. [default: beside --out]",
)
def train_backbone(name: str, out: Path | None, seed: int, vision: Path | None, medium: Path | None) -> None:
    """Make a tiny backbone from fresh questions of the mini worlds, none of them a record of the suite.

    A medium one takes about a quarter of an hour on one core, a small one a few minutes more.

    \b
    Examples:
      drake backbones train tiny-llama-m --vision backbones/vision.safetensors
      drake backbones train tiny-llama-s --medium backbones/tiny-llama-m
    """
    from drake.common.files import check_folder
    from drake.config import preset

    target = out or Path("backbones") / name
    check_folder(target)
    if vision is not None:
        check_folder(vision.parent)

    from transformers.utils import logging

    from drake.models.tiny import train
    from drake.runs.setup import open_data
    from drake.tools.zero_shot import zero_shot

    logging.disable_progress_bar()
    mini = preset("mini")

    def score(checkpoint: Path) -> dict[str, float]:
        return zero_shot(checkpoint, open_data(mini), mini)

    folder = train(
        name,
        target,
        seed=seed,
        vision=vision,
        medium=medium,
        score=score,
        log=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{folder} is ready: drake eval --models {folder}")

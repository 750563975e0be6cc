"""`drake value`."""

from __future__ import annotations

from pathlib import Path

import click

from drake.cli.params import Resumable


@click.command(cls=Resumable)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--method", help='The run\'s method, required where it is a "module:Class".')
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the repeated runs. [default: RUN-value]")
def value(run: Path, method: str | None, out: Path | None) -> None:
    """Measure what each client of a finished run gains from the others, and what its presence gives them.

    The run is repeated with its own settings and seeds, without each client in turn and with each client alone: for N
    clients that is the work of about N such runs. A stopped command continues.

    \b
    Examples:
      drake eval --method fedmosaic --preset quick --seeds 0-2 --out runs/quick
      drake value runs/quick
    """
    from rich.console import Console
    from transformers.utils import logging

    from drake.cli.evaluate import of_run_folder
    from drake.cli.live import Live
    from drake.cli.statistics_tables import value_table
    from drake.config import Config, resolve
    from drake.results import Results, load
    from drake.results.plots import heatmap
    from drake.runs.api import execute, prepare
    from drake.runs.folder import config_of, method_of, refuse_links
    from drake.tools.value import FILE, client_value, store

    logging.disable_progress_bar()
    file = config_of(run)
    refuse_links(run)
    flags = {"method": method_of(run, method), "feature_cache": None, "feature_cache_gb": None}
    config = of_run_folder(resolve(file, flags), run, flags)
    folder = run.with_name(f"{run.name}-value") if out is None else out
    console = Console(stderr=True)

    def repeated(name: str, changed: Config) -> Results:
        console.print(name)
        with console.status("loading data and backbones"):
            setup = prepare(changed, folder / name)
        with Live(console, setup) as live:
            return execute(setup, folder / name, callbacks=[live])

    results = load(run)
    found = client_value(results, config, repeated)
    store(found, folder / FILE)
    clients = [f"{client.id} ({client.model})" for client in results.clients]
    picture, _ = heatmap(
        found.presence.mean(0),
        clients,
        [str(client.id) for client in results.clients],
        folder / "value.png",
        "Points that the client of a row gives to that of a column",
        diverging=True,
    )
    Console().print(value_table(found, clients))
    click.echo(f"{folder / FILE}, {picture}")

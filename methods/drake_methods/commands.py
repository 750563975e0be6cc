"""FedMosaic's commands, found by `drake` through the entry points "drake.commands". Parse, call, print."""

from __future__ import annotations

from pathlib import Path

import click

from drake.cli.params import NAMES, POSITIVE, SEEDS, set_option
from drake.errors import DrakeError


@click.command()
@click.option("--models", type=NAMES, help="Backbones, comma-separated: two or more. [default: the preset's]")
@click.option("--data", help="A dataset folder or hub repository with public records. [default: the mini suite]")
@click.option("--preset", default="mini", show_default=True, help="Whose rank and options to align for.")
@click.option(
    "--seeds", type=SEEDS, default="0", show_default=True, help="The seeds of the runs to come: 0,1,2 or 0-2."
)
@click.option("--rank", type=POSITIVE, help="Rank of the adapters. [default: the preset's]")
@set_option()
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
def align(
    models: tuple[str, ...] | None,
    data: str | None,
    preset: str,
    seeds: tuple[int, ...],
    rank: int | None,
    pairs: tuple[str, ...],
    device: str,
) -> None:
    """Align the frozen A and B of Co-LoRA across backbones, on public data, and report how well they fit.

    `drake eval --method fedmosaic` aligns before its first round, unless fedmosaic.align=false, and reuses the factors
    that this command has stored in the cache.

    \b
    Examples:
      drake align --models tiny-llama-s,tiny-llama-m
      drake align --preset paper --models llama1b,llama3b --data data/drake --seeds 0-2 --device cuda
    """
    from drake.config import resolve

    flags = {"models": models, "data": data, "preset": preset, "seeds": seeds, "rank": rank, "device": device}
    config = resolve(flags=flags | {"method": "fedmosaic"}, pairs=pairs)
    if len(config.models) < 2:
        raise DrakeError("aligning needs two backbones or more; name them with --models.")

    from rich.console import Console
    from rich.table import Table
    from transformers.utils import logging

    from drake.common.threads import use_threads
    from drake.runs import Setup
    from drake.runs.engines import resolved

    from .fedmosaic import FedMosaic
    from .frozen import anchor_of

    logging.disable_progress_bar()
    console = Console()
    with Console(stderr=True).status("loading data and backbones"):
        setup = Setup(config)
    if resolved("auto", setup.device, None) == "processes":
        use_threads(1)  # as `drake eval` there: the number of threads is part of the cache key
    for seed in config.seeds:
        method = setup.method()
        assert isinstance(method, FedMosaic)
        federation = setup.federation(seed, setup.backbones.__getitem__)
        method.join(federation)
        anchor = anchor_of(federation)
        for name in setup.backbones:
            if name == anchor:
                continue
            with Console(stderr=True).status(f"seed {seed}: aligning {name} to {anchor}"):
                fits = method.factors(name).fits
            title = f"{name} aligned to {anchor}, seed {seed}: residual relative to the anchor's A H"
            table = Table(title=title, title_justify="left", caption=f"{next(iter(fits.values())).rows:,} tokens")
            table.add_column("layer")
            for column in ("least squares", "orthonormal A"):
                table.add_column(column, justify="right")
            for place, fit in fits.items():
                table.add_row(place, f"{fit.least_squares:.3f}", f"{fit.orthonormal:.3f}")
            console.print(table)


@click.command()
@click.option("--models", type=NAMES, required=True, help="Two backbones, comma-separated.")
@click.option("--data", help="A dataset folder or hub repository with public records. [default: the mini suite]")
@click.option("--records", "count", type=POSITIVE, default=200, show_default=True, help="Public records to compare on.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("cka"), show_default=True, help="Folder to fill.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--dtype", default="float32", show_default=True, help="float32 or bfloat16.")
def cka(models: tuple[str, ...], data: str | None, count: int, out: Path, device: str, dtype: str) -> None:
    """Compare the layers of two backbones by linear CKA, on public data.

    Writes cka.csv, cka.png and cka.svg, and prints for each layer of the first backbone the most similar layer of the
    second and its depth.

    \b
    Example:
      drake cka --models tiny-llama-s,tiny-llama-m --out cka
    """
    from drake import catalog
    from drake.common.files import check_folder
    from drake.config import preset

    named = models
    if len(named) != 2:
        raise DrakeError(f"--models {','.join(named)} names {len(named)} backbones; name two.")
    catalog.assign(sorted(set(named)))
    check_folder(out)

    from rich.console import Console
    from rich.table import Table
    from transformers.utils import logging

    from drake.models import backbones
    from drake.results.plots import heatmap
    from drake.runs.device import dtype_of, resolve_device
    from drake.runs.setup import open_data, public_records

    from .cka import best_matches, layer_similarity
    from .cka import write as write_matrix

    logging.disable_progress_bar()
    kind, where = dtype_of(dtype), resolve_device(device)
    with Console(stderr=True).status("comparing layers"):
        records = public_records(open_data(preset("mini").with_(data=data)).public_rows, count, "cka")
        loaded = {name: backbones.load(name, device=where, dtype=kind) for name in dict.fromkeys(named)}
        similarity = layer_similarity(loaded[named[0]], loaded[named[1]], records)
    write_matrix(similarity, out / "cka.csv")
    rows, columns = ([str(k + 1) for k in range(n)] for n in similarity.shape)
    title = f"CKA of layers: {named[0]} by {named[1]}"
    picture, _ = heatmap(similarity.numpy(), rows, columns, out / "cka", title)
    table = Table(title=f"layers of {named[0]} and the most similar of {named[1]}", title_justify="left")
    for column in ("layer", "depth", "best match", "depth", "CKA"):
        table.add_column(column, justify="right")
    for match in best_matches(similarity):
        depth, best_depth = (f"{100 * value:.0f} %" for value in (match.depth, match.best_depth))
        table.add_row(str(match.layer), depth, str(match.best), best_depth, f"{match.cka:.3f}")
    Console().print(table)
    click.echo(f"{out}/cka.csv, {picture}")

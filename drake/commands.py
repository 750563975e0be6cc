"""Commands that `drake` finds through the entry points "drake.commands". Parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--client", type=int, required=True, help="Whose model, from 0.")
@click.option("--seed", type=int, help="Of which federation.  [default: the run's first seed]")
@click.option("--merge", is_flag=True, help="Write the whole model instead of an adapter.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def export(run: Path, client: int, seed: int | None, merge: bool, out: Path) -> None:
    """Write a client's model as it stood after the last round: a PEFT adapter, or with --merge a LLaVA checkpoint.

    \b
    Example:
      drake export runs/fedmosaic-mini --client 3 --out models/client-3
      drake export runs/fedmosaic-mini --client 3 --merge --out models/client-3-whole
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    from drake.harness.export import export as write

    base = write(run, client, out, seed, merge)
    kind = "a LLaVA checkpoint" if merge else f"a LoRA adapter for {base}"
    click.echo(f"{out} is ready: {kind}")


@click.command()
@click.option("--models", default="llama1b,llama3b", show_default=True, help="Backbones, comma-separated.")
@click.option("--methods", help="Methods, comma-separated.  [default: all of `drake methods`]")
@click.option("--preset", default="paper", show_default=True, help="Whose rank and method options to use.")
@click.option("--rank", type=int, help="Rank of the adapters.  [default: the preset's]")
@click.option("--dtype", help="Of the backbones: float32 or bfloat16.  [default: the preset's]")
@click.option("--by-kind", is_flag=True, help="A row for each kind of tensor too.")
def comm(models: str, methods: str | None, preset: str, rank: int | None, dtype: str | None, by_kind: bool) -> None:
    """Count what each method would send with real backbones; needs no weights, data or network.

    \b
    Example:
      drake comm --models llama1b,llama3b
      drake comm --models qwen0.5b,qwen1.5b,qwen3b --methods fedmosaic --rank 64 --by-kind
    """
    from drake import catalog
    from drake.federation import registry
    from drake.federation.settings import positive
    from drake.federation.settings import preset as preset_of

    chosen = preset_of(preset)
    if rank is not None:
        positive("--rank", rank)
        chosen = chosen.with_(rank=rank)
    named = registry.names() if methods is None else _parts(methods)
    catalog.assign(_parts(models))  # a wrong name must not wait for torch
    for name in named:
        registry.check(name)

    from rich.console import Console

    from drake.harness.communication import PAPER_SAVING, costs
    from drake.terminal import cost_table

    found = costs(_parts(models), named, chosen, dtype)
    Console().print(cost_table(found, by_kind))
    click.echo(
        f"Rank {chosen.training.rank}; bytes as sent (adapters are float32). The paper reports "
        f"{100 * PAPER_SAVING:.1f}% less than the most economical baseline."
    )
    if None in found.values():
        click.echo("?: it sends something, but its class does not say what (Method.sent).")


@click.command("check-method")
@click.argument("method")
@click.option("--set", "pairs", multiple=True, metavar="OPTION=VALUE", help="A method's own hyperparameter.")
def check_method(method: str, pairs: tuple[str, ...]) -> None:
    """Try a method on a federation of two clients and say what it breaks; exit code 1 when it breaks something.

    \b
    Example:
      drake check-method my_method:Mine
      drake check-method fedmosaic --set gate=input
    """
    from drake.federation import registry
    from drake.federation.settings import preset

    registry.check(method)

    import torch
    from rich.console import Console
    from rich.markup import escape
    from transformers.utils import logging

    from drake.harness.method_check import CHECKS, Trial, findings
    from drake.harness.request import options_from
    from drake.harness.setup import open_data

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    quick, console = preset("quick"), Console(highlight=False)
    given = {name: str(value) for name, value in quick.method_options.get(method, {}).items()}
    trial = Trial(method, given | options_from(pairs, method), quick, open_data(None, quick))
    faults = 0
    for title, fault in findings(trial):
        faults += fault is not None
        console.print(f"[green]ok[/]     {title}" if fault is None else f"[red]BROKEN[/] {title}: {escape(fault)}")
    click.echo(f"{len(CHECKS) - faults} of {len(CHECKS)} checks hold.")
    if faults:
        sys.exit(1)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

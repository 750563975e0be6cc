"""Commands that `drake` finds through the entry points "drake.commands". Parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from drake.federation import registry
from drake.federation.settings import positive
from drake.federation.settings import preset as preset_of
from drake.stopping import gracefully


class Resumable(click.Command):
    """A command that stores what it has done and goes on from there."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with gracefully():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort("Stopped. The same command goes on where it was.") from error


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
    quick, console = preset_of("quick"), Console(highlight=False)
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


@click.command(cls=Resumable)
@click.option("--model", default="tiny-llama-s", show_default=True, help="The backbone to fine-tune.")
@click.option("--method", default="sft", show_default=True, help="How to fine-tune: a method that needs no server.")
@click.option("--preset", default="mini", show_default=True, help="Whose training numbers to use.")
@click.option("--train", "train", help="Training tasks, comma-separated. [default: all, the unseen ones too]")
@click.option("--test", "test", help="Test tasks, comma-separated. [default: all]")
@click.option("--own", is_flag=True, help="Score each on its own training task alone.")
@click.option("--steps", type=int, help="Optimizer steps per task. [default: what a task gets in a run of the preset]")
@click.option("--learning-rate", type=float, help="Of A and B. [default: the preset's]")
@click.option("--eval-records", type=int, help="Test records scored per task; 0 for all.")
@click.option("--data", help="A dataset folder. [default: the mini suite]")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", type=int, help="Threads PyTorch computes with. [default: all cores]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def transfer(
    model: str,
    method: str,
    preset: str,
    train: str | None,
    test: str | None,
    own: bool,
    steps: int | None,
    learning_rate: float | None,
    eval_records: int | None,
    data: str | None,
    seed: int,
    threads: int | None,
    out: Path,
) -> None:
    """Fine-tune on one task, score it on others: a row for each training task, and one for no training.

    \b
    drake transfer --train NLVR2-0,NLVR2-1,VSR-0 --test NLVR2-0,NLVR2-1,VSR-0 --out runs/transfer
    """
    from drake import catalog

    chosen = preset_of(preset)
    if eval_records is not None:
        positive("--eval-records", eval_records, zero=True)
        chosen = chosen.with_(eval_records=eval_records)
    if learning_rate is not None:
        positive("--learning-rate", learning_rate)
        chosen = chosen.with_(learning_rate=learning_rate)
    registry.check(method)
    catalog.assign([model])
    positive("--seed", seed, zero=True)
    if threads is not None:
        positive("--threads", threads)

    import torch
    from rich.console import Console
    from transformers.utils import logging

    from drake.harness.setup import open_data
    from drake.harness.transfer import ZERO_SHOT, from_names
    from drake.plots import heatmap

    logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console(stderr=True)
    job = from_names(method, model, chosen, open_data(data, chosen), train, test, steps, seed, own)

    def show(row: str, scores: dict[str, float]) -> None:
        own = "" if row == ZERO_SHOT else f", itself {100 * scores[row]:.1f}" if row in scores else ""
        console.print(f"{row}: mean {100 * sum(scores.values()) / len(scores):.1f}{own}")

    rows = job.run(out, show)
    if own:  # each row holds its own task alone: there is no matrix to draw
        click.echo(f"{out}/transfer.json")
        return
    matrix = [[scores[task] for task in job.test_tasks] for scores in rows.values()]
    heatmap(
        matrix, list(rows), job.test_tasks, out / "transfer.png", "fine-tuned on row, scored on column", percent=True
    )
    click.echo(f"{out}/transfer.json, {out}/transfer.png")


@click.command()
def methods() -> None:
    """List the methods that `drake eval` knows.

    \b
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


@click.group()
def backbones() -> None:
    """List the backbones, or make the tiny ones.

    \b
    drake backbones list
    drake backbones train tiny-llama-s
    """


@backbones.command("list")
def list_backbones() -> None:
    """Names that --models takes.

    \b
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
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--vision", type=click.Path(dir_okay=False, path_type=Path), help="The trained vision tower, or where to keep it."
)
@click.option(
    "--medium",
    type=click.Path(file_okay=False, path_type=Path),
    help="Of a small backbone: the medium one it is cut from, made there if it is missing. [default: beside --out]",
)
def train_backbone(name: str, out: Path | None, seed: int, vision: Path | None, medium: Path | None) -> None:
    """Make a tiny backbone on fresh questions of the mini worlds, no record of the suite among them.

    A medium one takes about a quarter of an hour on one free core, a small one a few minutes more.

    \b
    drake backbones train tiny-llama-m --vision backbones/vision.safetensors
    drake backbones train tiny-llama-s --medium backbones/tiny-llama-m
    """
    from drake.files import check_folder

    positive("--seed", seed, zero=True)
    target = out or Path("backbones") / name
    check_folder(target)
    if vision is not None:
        check_folder(vision.parent)

    from transformers.utils import logging

    from drake.harness.setup import open_data
    from drake.harness.zero_shot import zero_shot
    from drake.pretrain import train

    logging.disable_progress_bar()
    mini = preset_of("mini")

    def score(checkpoint: Path) -> dict[str, float]:
        return zero_shot(checkpoint, open_data(None, mini), mini)

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

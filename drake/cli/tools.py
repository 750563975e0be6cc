"""`drake export`, `comm`, `check-method`, `transfer`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drake.cli.params import NAMES, NOT_NEGATIVE, POSITIVE, POSITIVE_NUMBER, Resumable, set_option
from drake.errors import DrakeError
from drake.federation import registry


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--client", type=int, help="The client whose model is written, from 0.")
@click.option("--all", "everyone", is_flag=True, help="Write every client's model, to OUT/client-0, OUT/client-1, ...")
@click.option("--seed", type=int, help="The seed of the federation.  [default: the run's first seed]")
@click.option("--merge", is_flag=True, help="Write the whole model instead of an adapter.")
@click.option("--method", help='The run\'s method, required where it is a "module:Class".')
@click.option(
    "--models", type=NAMES,
    help="The run's backbones, required where they are paths or repositories and the run was begun elsewhere.",
)  # fmt: skip
@click.option(
    "--dataset-id", help="The dataset on the Hub that the scores are filed under. [default: what the run read]"
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def export(
    run: Path,
    client: int | None,
    everyone: bool,
    seed: int | None,
    merge: bool,
    method: str | None,
    models: tuple[str, ...] | None,
    dataset_id: str | None,
    out: Path,
) -> None:
    """Write a client's model as it stood after the last round: a PEFT adapter, or with --merge a whole checkpoint.
    A model card says what it is and what it scored. Models that are no sum of fixed adapters are refused: those of
    fedsim, and of fedmosaic with its default gate.

    \b
    Example:
      drake export runs/fedit-mini --client 3 --out models/client-3
      drake export runs/fedit-mini --client 3 --merge --out models/client-3-whole
      drake export runs/sft-mini --all --out models/sft
    """
    if everyone == (client is not None):
        raise DrakeError("drake export needs either --client, with a number, or --all.")

    from transformers.utils import logging

    logging.disable_progress_bar()
    from drake.tools.export import export as write
    from drake.tools.export import export_all

    if client is None:
        bases = export_all(run, out, seed, merge, method, dataset_id, models)
        click.echo(f"{out} is ready: client-0 to client-{len(bases) - 1}")
        return
    base = write(run, client, out, seed, merge, method, dataset_id, models)
    kind = "a whole checkpoint" if merge else f"a LoRA adapter for {base}"
    click.echo(f"{out} is ready: {kind}")


@click.command()
@click.option("--models", type=NAMES, default="llama1b,llama3b", show_default=True, help="Backbones, comma-separated.")
@click.option("--methods", type=NAMES, help="Methods, comma-separated.  [default: all of `drake methods`]")
@click.option(
    "--preset", default="paper", show_default=True, help="The preset that gives the rank and the method options."
)
@click.option("--rank", type=POSITIVE, help="Rank of the adapters.  [default: the preset's]")
@click.option("--dtype", help="Type of the backbones' weights: float32 or bfloat16.  [default: the preset's]")
@click.option("--by-kind", is_flag=True, help="Also print a row for each kind of tensor.")
def comm(
    models: tuple[str, ...],
    methods: tuple[str, ...] | None,
    preset: str,
    rank: int | None,
    dtype: str | None,
    by_kind: bool,
) -> None:
    """Count what each method would send with real backbones; needs no weights, data or network.

    \b
    Example:
      drake comm --models llama1b,llama3b
      drake comm --models qwen0.5b,qwen1.5b,qwen3b --methods fedmosaic --rank 64 --by-kind
    """
    from drake.config import resolve

    named = methods or tuple(registry.names())
    for name in named:
        registry.check(name)
    flags = {"preset": preset, "models": models, "rank": rank, "dtype": dtype}
    chosen = resolve(flags=flags)  # a wrong name must not wait for torch
    configs = [resolve(flags=flags | {"method": name}) for name in named]

    from rich.console import Console

    from drake.cli.tables import cost_table
    from drake.tools.traffic import PAPER_SAVING, costs

    found = costs(configs)
    Console().print(cost_table(found, by_kind))
    click.echo(
        f"Rank {chosen.training.rank}; bytes as sent (adapters are float32). The paper reports "
        f"{100 * PAPER_SAVING:.1f}% less than the most economical baseline."
    )
    if None in found.values():
        click.echo("?: the method sends something, but its class does not declare what (Method.sent).")


@click.command("check-method")
@click.argument("method")
@set_option()
def check_method(method: str, pairs: tuple[str, ...]) -> None:
    """Check a method on a federation of two clients and list what is wrong; exit code 1 when something is.

    \b
    Example:
      drake check-method my_method:Mine
      drake check-method fedmosaic --set gate=scalar
    """
    from drake.config import resolve

    config = resolve(flags={"method": method, "preset": "quick"}, pairs=pairs)

    from rich.console import Console
    from rich.markup import escape
    from transformers.utils import logging

    from drake.common.threads import use_threads
    from drake.runs.setup import open_data
    from drake.tools.check_method import CHECKS, Trial, findings

    logging.disable_progress_bar()
    use_threads(1)
    console = Console(highlight=False)
    trial = Trial(method, config.method_options, config, open_data(config))
    faults = 0
    for title, fault in findings(trial):
        faults += fault is not None
        console.print(f"[green]ok[/]     {title}" if fault is None else f"[red]BROKEN[/] {title}: {escape(fault)}")
    click.echo(f"{len(CHECKS) - faults} of {len(CHECKS)} checks hold.")
    if faults:
        sys.exit(1)


@click.command(cls=Resumable)
@click.option("--model", default="tiny-llama-s", show_default=True, help="The backbone to fine-tune.")
@click.option(
    "--method", default="sft", show_default=True, help="The method that fine-tunes; it must work without a server."
)
@click.option(
    "--preset",
    default="mini",
    show_default=True,
    help="The preset that gives the training settings and the method options.",
)
@click.option("--train", type=NAMES, help="Training tasks, comma-separated. [default: all, the unseen ones too]")
@click.option("--test", type=NAMES, help="Test tasks, comma-separated. [default: all]")
@click.option("--own", is_flag=True, help="Score each on its own training task alone.")
@click.option(
    "--steps", type=POSITIVE, help="Optimizer steps per task. [default: what a task gets in a run of the preset]"
)
@click.option("--learning-rate", type=POSITIVE_NUMBER, help="Learning rate of A and B. [default: the preset's]")
@click.option(
    "--eval-records", type=NOT_NEGATIVE, help="Test records scored per task; 0 for all. [default: the preset's]"
)
@click.option("--data", help="A dataset folder. [default: the mini suite]")
@click.option("--seed", type=NOT_NEGATIVE, default=0, show_default=True, help="Seed of everything drawn at random.")
@click.option("--threads", type=POSITIVE, help="Threads PyTorch computes with. [default: all cores]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@set_option()
def transfer(
    model: str,
    method: str,
    preset: str,
    train: tuple[str, ...] | None,
    test: tuple[str, ...] | None,
    own: bool,
    steps: int | None,
    learning_rate: float | None,
    eval_records: int | None,
    data: str | None,
    seed: int,
    threads: int | None,
    out: Path,
    pairs: tuple[str, ...],
) -> None:
    """Fine-tune on one task, score it on others: a row for each training task, and one for no training.

    \b
    Example:
      drake transfer --train NLVR2-0,NLVR2-1,VSR-0 --test NLVR2-0,NLVR2-1,VSR-0 --out runs/transfer
    """
    from drake.config import resolve

    flags = {
        "method": method,
        "preset": preset,
        "models": [model],
        "seeds": [seed],
        "learning_rate": learning_rate,
        "eval_records": eval_records,
        "data": data,
    }
    config = resolve(flags=flags, pairs=pairs)

    from rich.console import Console
    from transformers.utils import logging

    from drake.common.threads import use_threads
    from drake.results.plots import heatmap
    from drake.runs.setup import open_data
    from drake.tools.transfer import ZERO_SHOT, from_names

    logging.disable_progress_bar()
    if threads is not None:
        use_threads(threads)
    console = Console(stderr=True)
    job = from_names(config, open_data(config), train, test, steps, own)

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

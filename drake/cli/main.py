"""The command line: parse, call, print. Heavy imports stand inside the commands, so that `drake --help` is instant.

A DrakeError becomes one sentence and exit code 2. Here are `build` and `eval`; all other commands (`drake.commands` and
those of other rooms) are entry points of the group "drake.commands".
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from drake.cli.commands import Resumable
from drake.config import positive
from drake.config import preset as preset_of
from drake.errors import DrakeError
from drake.federation import registry


class _Commands(click.Group):
    """The commands below, and those other packages register."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *(entry.name for entry in entry_points(group="drake.commands"))})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands:
            return self.commands[name]
        return next((entry.load() for entry in entry_points(group="drake.commands", name=name)), None)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="drake-bench", prog_name="drake")
def drake() -> None:
    """DRAKE: a benchmark and evaluation suite for personalised federated learning.

    \b
    drake build --split dynamic                               write the benchmark as a dataset folder
    drake eval --method fedmosaic --preset mini               train and score a federation
    drake leaderboard runs/*                                  rank runs
    """


def main() -> None:
    """The `drake` command."""
    try:
        drake.main(standalone_mode=False)
    except DrakeError as error:
        _fail(str(error))
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as stopped:
        click.echo(str(stopped) or "Stopped.", err=True)
        sys.exit(130)


def _fail(sentence: str) -> None:
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(2)


@drake.command()
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
@click.option("--seed", default=0, show_default=True, help="Of the scenes, the order and the schedule.")
@click.option("--train", type=int, help="Records per mini task to train on.  [default: 400]")
@click.option("--test", type=int, help="Records per mini task to test on.  [default: 100]")
@click.option("--public-per-world", type=int, help="Public records per mini world.  [default: 400]")
@click.option("--rounds-per-task", default=5.0, show_default=True, help="Rounds a task lasts.")
@click.option("--alpha", default=0.5, show_default=True, help="Of the Dirichlet distribution.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --out.")
def build(**options: Any) -> None:
    """Write DRAKE as a dataset folder that `datasets.load_dataset` opens.

    \b
    drake build --split dynamic --out data/mini
    drake build --source release:~/drake-release --split static --out data/drake
    drake build --source my-data
    """
    positive("--seed", options["seed"], zero=True)
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


@drake.command("eval", cls=Resumable)
@click.option("--method", help='A name of `drake methods`, or "module:Class".')
@click.option("--zero-shot", is_flag=True, help="Score the bare backbones on every task instead; trains nothing.")
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help='Go on with this run folder, as it was. A "module:Class" must be named again with --method.',
)
@click.option("--preset", default="mini", show_default=True, help="quick, mini or paper: all the numbers at once.")
@click.option("--models", help="Backbones, comma-separated: names of `drake backbones list` or checkpoint folders.")
@click.option("--data", help="A dataset folder of `drake build` or a hub repository. [default: the mini suite]")
@click.option("--split", default="dynamic", show_default=True, help="dynamic, static, dirichlet or dirichlet-across.")
@click.option(
    "--seeds", default="0", show_default=True, help="One federation for each: 0,1,2 or 0-2. A run can be given more."
)
@click.option("--out", type=click.Path(path_type=Path), help="The run folder. [default: runs/METHOD-PRESET]")
@click.option(
    "--overwrite", default="only-missing", show_default=True, type=click.Choice(["only-missing", "never", "always"])
)
@click.option("--set", "pairs", multiple=True, metavar="OPTION=VALUE", help="A method's own hyperparameter.")
@click.option("--no-align", is_flag=True, help="Short for --set align=false, of methods that align weights.")
@click.option("--rounds", type=int, help="Rounds in all, spread evenly over the tasks.")
@click.option("--rounds-per-task", type=float, help="Rounds a task lasts.")
@click.option("--steps", type=int, help="Optimizer steps per client and round of a method with relative cost 1.")
@click.option("--rank", type=int, help="Rank of the adapters.")
@click.option("--learning-rate", type=float, help="Of A and B.")
@click.option("--eval-records", type=int, help="Test records scored per task; 0 for all.")
@click.option("--eval-every", type=int, help="Rounds between evaluation points. [default: the ends of the tasks]")
@click.option("--alpha", default=0.5, show_default=True, help="Of Dirichlet splits.")
@click.option("--participation", default=1.0, show_default=True, help="Share of the clients asked in a round.")
@click.option("--dropout", default=0.0, show_default=True, help="Probability that an asked client fails in a round.")
@click.option("--deadline", type=float, help="Drop who takes longer: in units of the median client's usual round.")
@click.option(
    "--gradient-checkpointing/--no-gradient-checkpointing",
    default=None,
    help="Less memory for a third more time. [default: the preset's]",
)
@click.option("--eval-tokens", help="Tokens of an evaluation batch; auto: what the GPU holds. [default: the preset's]")
@click.option("--compile", is_flag=True, help="Compile the decoder layers for training: a slow start, then faster.")
@click.option(
    "--feature-cache",
    metavar="FOLDER",
    help="A folder for encoded pictures that the next run, or another process, need not encode again.",
)
@click.option("--feature-cache-gb", default=20.0, show_default=True, help="Its size; the oldest files go.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--dtype", help="float32 or bfloat16. [default: the preset's]")
@click.option("--threads", type=int, help="Threads PyTorch computes with, in each process.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "serial", "processes", "ray"]),
    help="Where clients run: here, in a process for each core (auto, on a CPU), on many GPUs and machines.",
)
@click.option("--workers", type=int, help="Processes of the engine. [default: one per core, or per GPU]")
@click.option("--tensorboard", is_flag=True, help="Write RUN/tensorboard too.")
@click.option(
    "--gpu-share", metavar="NAME=SHARE,...", help="Ray: the part of a GPU that a process of a backbone takes."
)
@click.pass_context
def evaluate(ctx: click.Context, resume: Path | None, zero_shot: bool, **arguments: Any) -> None:
    """Train and score a federation; writes a run folder. The same command, or --resume, continues one that was stopped.

    \b
    drake eval --method sft --preset quick
    drake eval --method fedmosaic --models tiny-llama-s,tiny-llama-m --seeds 0,1
    drake eval --method fedmosaic --preset mini --engine ray --workers 2
    drake eval --method fedmosaic --preset paper --models llama1b,llama3b --data data/drake --device cuda
    drake eval --resume runs/fedmosaic-mini
    drake eval --zero-shot --models tiny-llama-s,tiny-qwen-s
    """
    if zero_shot:
        _refuse_others(ctx, "--zero-shot trains nothing", {"zero_shot", *ZERO_SHOT_OPTIONS})
        return _zero_shot(**{name: arguments[name] for name in ZERO_SHOT_OPTIONS})
    if resume is not None:
        from drake.runs.resuming import REPEATED, stored_options

        _refuse_others(ctx, "--resume takes all settings from the run", {"resume", *REPEATED})
        options, note = stored_options(resume, ctx.command.params, arguments)
        arguments |= options | {"out": resume, "overwrite": "only-missing"}
        if note is not None:
            click.echo(f"note: {note}", err=True)
    elif arguments["method"] is None:
        raise click.UsageError("Missing option '--method'.", ctx)
    command = {name: value for name, value in arguments.items() if name not in ("out", "overwrite")}
    _evaluate(command, **arguments)


ZERO_SHOT_OPTIONS = ("preset", "models", "data", "out", "overwrite", "eval_records", "device", "dtype", "threads")


def _refuse_others(ctx: click.Context, why: str, allowed: set[str]) -> None:
    """DrakeError for an option that was given beside those allowed."""
    for parameter in ctx.command.params:
        if parameter.name not in allowed and ctx.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT:
            raise DrakeError(f"{why}; leave {parameter.opts[0]} out.")


def _zero_shot(
    preset: str,
    models: str | None,
    data: str | None,
    out: Path | None,
    overwrite: str,
    eval_records: int | None,
    device: str,
    dtype: str | None,
    threads: int | None,
) -> None:
    from drake import catalog

    chosen = preset_of(preset).with_(**({} if eval_records is None else {"eval_records": eval_records}))
    named = tuple(part.strip() for part in (models or "").split(",") if part.strip()) or chosen.models
    catalog.assign(named)

    import torch
    from rich.console import Console
    from transformers.utils import logging

    from drake.cli.terminal import task_table
    from drake.tools.zero_shot import score_backbones

    logging.disable_progress_bar()
    if threads is not None:
        positive("--threads", threads)
        torch.set_num_threads(threads)
    folder = out or Path("runs") / f"zero-shot-{preset}"
    with Console(stderr=True).status("scoring the bare backbones"):
        scores = score_backbones(named, data, chosen, folder, overwrite, device, dtype)
    Console().print(task_table(scores))
    click.echo(f"{folder}/zero-shot.json")


def _evaluate(
    command: dict[str, Any],
    method: str,
    preset: str,
    models: str | None,
    seeds: str,
    out: Path | None,
    overwrite: str,
    pairs: list[str],
    no_align: bool,
    threads: int | None,
    engine: str,
    workers: int | None,
    gpu_share: str | None,
    tensorboard: bool,
    **options: Any,
) -> None:
    from drake import catalog

    numbers = {
        name: value
        for name in ("rounds_per_task", "steps", "rank", "learning_rate", "eval_records", "gradient_checkpointing")
        if (value := options.pop(name)) is not None
    }
    chosen = preset_of(preset).with_(**numbers)
    # A wrong name must not wait for torch and transformers.
    registry.check(method)
    named = tuple(part.strip() for part in (models or "").split(",") if part.strip())
    catalog.assign(named or chosen.models)
    for option, value in (("--threads", threads), ("--workers", workers)):
        if value is not None:
            positive(option, value)
    if engine in ("auto", "serial") and workers is not None:
        raise DrakeError("--workers is for --engine processes and ray; add one or leave it out.")
    if engine != "ray" and gpu_share is not None:
        raise DrakeError("--gpu-share is for --engine ray; add it or leave it out.")

    import torch
    from rich.console import Console
    from transformers.utils import logging

    from drake.cli.terminal import Live, duration, summary_table
    from drake.federation.participation import Attendance
    from drake.runs import Settings, Setup
    from drake.runs import evaluate as run
    from drake.runs.engines import opened, shares_from
    from drake.runs.reporting import Several, TensorBoard
    from drake.runs.request import eval_tokens_from, options_from, seeds_from

    logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    attendance = Attendance(*(options.pop(name) for name in ("participation", "dropout", "deadline")))
    settings = Settings(
        attendance=attendance,
        method=method,
        preset=chosen,
        models=named,
        seeds=seeds_from(seeds),
        eval_tokens=eval_tokens_from(options.pop("eval_tokens")),
        options=options_from([*pairs, *(["align=false"] if no_align else [])], method),
        **options,
    )
    console = Console(stderr=True)
    folder = out or Path("runs") / f"{method.rsplit(':', 1)[-1].lower()}-{preset}"
    shares = shares_from(gpu_share)
    with console.status("loading data and backbones"):
        setup = Setup(settings, resident="cpu" if engine == "ray" else None)
    boards = [TensorBoard(folder / "tensorboard")] if tensorboard else []
    with opened(engine, setup, workers, threads, shares) as engines, Live(console) as live:
        results = run(setup, folder, overwrite, Several([live, *boards]), command, engines)
    Console().print(summary_table(results))
    click.echo(f"{folder}/results.json, {duration(results.seconds)}")

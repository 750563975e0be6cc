"""`drake eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from drake.cli.params import GroupedCommand, Resumable, option, refused, set_option, setting
from drake.errors import DrakeError

if TYPE_CHECKING:
    from drake.config import Config
    from drake.federation.callbacks import Callback

RUN, DATA, TRAINING, EVALUATION = "What to run", "Data and rounds", "Training", "Evaluation"
PARTICIPATION, EXECUTION, OUTPUT = "Participation", "Execution", "Output"

ZERO_SHOT_OPTIONS = (
    "zero_shot", "config_file", "pairs", "preset", "benchmark", "models", "prompts", "pictures", "load_in", "data",
    "out", "overwrite", "eval_records", "device", "dtype", "threads",
)  # fmt: skip
ADAPTERS_OPTIONS = (
    "adapters", "config_file", "pairs", "preset", "benchmark", "models", "prompts", "pictures", "seeds", "data",
    "clients", "eval_records", "eval_records_others", "eval_unseen", "eval_tokens", "engine", "workers", "threads",
    "device", "dtype", "gpu_share", "feature_cache", "feature_cache_gb", "out", "overwrite", "callbacks",
)  # fmt: skip
RESUME_OPTIONS = (
    "resume", "method", "models", "data", "public", "adapters", "feature_cache", "feature_cache_gb", "callbacks",
    "wandb", "trackio",
)  # fmt: skip


class _Evaluate(GroupedCommand, Resumable):
    """`drake eval` has many options and can be stopped."""


@click.command("eval", cls=_Evaluate)
@setting("method", RUN)
@setting("preset", RUN)
@setting("benchmark", RUN)
@setting("models", RUN)
@setting("prompts", RUN)
@setting("pictures", RUN)
@setting("load_in", RUN)
@setting("seeds", RUN)
@option(RUN)(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A TOML file of settings, such as RUN/config.toml; the options here change them.",
)
@set_option(RUN)
@option(RUN)(
    "--resume", metavar="RUN", type=click.Path(path_type=Path), help="Continue this run folder with its own settings."
)
@option(RUN)("--zero-shot", is_flag=True, help="Score the bare backbones on every task instead; trains nothing.")
@option(RUN)(
    "--adapters",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Score the PEFT adapters in DIR/client-0, DIR/client-1, ... instead; trains nothing.",
)
@setting("data", DATA)
@setting("public", DATA)
@setting("clients", DATA)
@setting("split", DATA)
@setting("alpha", DATA)
@setting("rounds", DATA)
@setting("rounds_per_task", DATA)
@setting("steps", TRAINING)
@setting("rank", TRAINING)
@setting("learning_rate", TRAINING)
@setting("eval_records", EVALUATION)
@setting("eval_records_others", EVALUATION)
@setting("eval_unseen", EVALUATION)
@setting("eval_every", EVALUATION)
@setting("eval_tokens", EVALUATION)
@setting("evaluate_at", EVALUATION)
@setting("also_aggregated", EVALUATION)
@setting("participation", PARTICIPATION)
@setting("client_dropout", PARTICIPATION)
@setting("deadline", PARTICIPATION)
@setting("late_clients", PARTICIPATION)
@setting("engine", EXECUTION)
@setting("workers", EXECUTION)
@setting("threads", EXECUTION)
@setting("device", EXECUTION)
@setting("dtype", EXECUTION)
@setting("gpu_share", EXECUTION)
@setting("gradient_checkpointing", EXECUTION)
@setting("compile", EXECUTION)
@setting("feature_cache", EXECUTION)
@setting("feature_cache_gb", EXECUTION)
@option(OUTPUT)("--out", type=click.Path(path_type=Path), help="The run folder. [default: runs/METHOD-PRESET]")
@option(OUTPUT)(
    "--overwrite",
    default="only-missing",
    show_default=True,
    type=click.Choice(["only-missing", "never", "always"]),
    help="What to do with a run folder that exists: continue it, refuse, or delete what it holds.",
)
@setting("tensorboard", OUTPUT)
@option(OUTPUT)("--wandb", is_flag=True, help="Send losses and scores to Weights & Biases too.")
@option(OUTPUT)("--trackio", is_flag=True, help="Send losses and scores to Trackio too.")
@option(OUTPUT)(
    "--callback",
    "callbacks",
    multiple=True,
    metavar="MODULE:CLASS",
    help="A class of your own that is told about every round; can be repeated.",
)
@refused(
    "--dropout",
    "--dropout is called --client-dropout now: the probability that a client fails; the dropout of LoRA is "
    "--set training.dropout=0.1.",
)
@click.pass_context
def evaluate(
    ctx: click.Context,
    resume: Path | None,
    zero_shot: bool,
    adapters: Path | None,
    config_file: Path | None,
    pairs: tuple[str, ...],
    out: Path | None,
    overwrite: Any,
    wandb: bool,
    trackio: bool,
    callbacks: tuple[str, ...],
    **flags: Any,
) -> None:
    """Train and score a federation; writes a run folder. The same command, or --resume, continues a stopped run.

    \b
    Examples:
      drake eval --method sft --preset quick
      drake eval --method fedmosaic --models tiny-llama-s,tiny-llama-m --seeds 0,1
      drake eval --method fedit --preset quick --benchmark glue
      drake eval --method ditto --set ditto.penalty=0.1 --set training.dropout=0.1
      drake eval --method fedmosaic --preset paper --models llama1b,llama3b --data data/drake --device cuda
      drake eval --config runs/fedmosaic-mini/config.toml --out runs/again
      drake eval --resume runs/fedmosaic-mini
      drake eval --method sft --tensorboard --callback my_callbacks:Losses
      drake eval --zero-shot --models tiny-llama-s,tiny-qwen-s
      drake eval --adapters my_adapters --models tiny-llama-s

    Settings without an option of their own are reached by --set and --config: docs/configuration.md lists them all.
    """
    from drake.config import required, resolve

    if zero_shot:
        _refuse_others(ctx, "--zero-shot trains nothing", ZERO_SHOT_OPTIONS)
        return _zero_shot(_of_file(resolve(config_file, flags, pairs), config_file, flags, pairs), out, overwrite)
    if adapters is not None and resume is not None:
        pairs = (*pairs, f"adapters.folder={adapters}")
    elif adapters is not None:
        _refuse_others(ctx, "--adapters trains nothing", ADAPTERS_OPTIONS)
        flags |= {"method": "adapters", "seeds": flags["seeds"] or (0,)}
        pairs = (*pairs, f"adapters.folder={adapters}")
    if resume is not None:
        from drake.runs.folder import config_of, method_of, read_identity, refuse_links

        _refuse_others(ctx, "--resume takes all settings from the run", RESUME_OPTIONS)
        config_file, out = config_of(resume), resume
        flags["method"] = method_of(resume, flags["method"])
        refuse_links(resume)
        if "eval_unseen" not in read_identity(resume):
            flags["eval_unseen"] = "none"  # a run of a version in which the preset did not ask for it
    config = _of_file(required(resolve(config_file, flags, pairs)), config_file, flags, pairs)
    trackers = [name for name, wanted in (("WandB", wandb), ("Trackio", trackio)) if wanted]
    _evaluate(config, out, overwrite, [*(f"drake.runs.reporting:{name}" for name in trackers), *callbacks])


def _refuse_others(ctx: click.Context, why: str, allowed: tuple[str, ...]) -> None:
    """DrakeError for an option that was given beside those allowed."""
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if name not in allowed and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise DrakeError(f"{why}; leave {parameter.opts[0]} out.")


def of_run_folder(config: Config, folder: Path, flags: Mapping[str, Any], pairs: Sequence[str] = ()) -> Config:
    """The settings of the configuration file of a run folder, which may come from anybody. flags, pairs: what the user
    gave.

    DrakeError for a path that only the folder names. A folder for encoded pictures is left out unless the user names it
    too: files are written to it and the oldest are deleted.
    """
    from drake.config.sources import from_flags, from_pairs
    from drake.runs.named_paths import from_run_folder, given_by

    how = "name it yourself, with --{option} {value}"
    if "models" not in flags:  # a command without these options
        how = f"continue the run once by drake eval --resume {folder} --{{option}} {{value}}"
    given = given_by(from_flags(flags), from_pairs(pairs, config.method or None))
    config, unused = from_run_folder(config, folder, given, how)
    if unused is not None:
        click.echo(f"Note: the run kept encoded pictures in {unused!r}; to use them, add --feature-cache.", err=True)
    return config


def _of_file(config: Config, file: Path | None, flags: Mapping[str, Any], pairs: Sequence[str]) -> Config:
    """The settings of a configuration file; see `of_run_folder` where it is a run folder's."""
    from drake.runs.folder import is_run_folder

    of_run = file is not None and is_run_folder(file.parent)
    return of_run_folder(config, file.parent, flags, pairs) if of_run and file is not None else config


def _zero_shot(config: Config, out: Path | None, overwrite: Any) -> None:
    from rich.console import Console
    from transformers.utils import logging

    from drake.cli.tables import task_table
    from drake.common.threads import use_threads
    from drake.tools.zero_shot import score_backbones

    logging.disable_progress_bar()
    if config.execution.threads is not None:
        use_threads(config.execution.threads)
    folder = out or Path("runs") / f"zero-shot-{config.preset}"
    with Console(stderr=True).status("scoring the bare backbones"):
        scores = score_backbones(config, folder, overwrite)
    Console().print(task_table(scores))
    click.echo(f"{folder}/zero-shot.json")


def _evaluate(config: Config, out: Path | None, overwrite: Any, callbacks: Sequence[str]) -> None:
    from rich.console import Console
    from transformers.utils import logging

    from drake.cli.live import Live
    from drake.cli.tables import duration, summary_table
    from drake.runs.api import default_folder, execute, prepare

    logging.disable_progress_bar()
    console, folder = Console(stderr=True), out or default_folder(config)
    users = [_callback(name) for name in callbacks]
    with console.status("loading data and backbones"):
        setup = prepare(config, folder)
    with Live(console, setup) as live:
        results = execute(setup, folder, overwrite, [live, *users])
    Console().print(summary_table(results))
    click.echo(f"{folder}/results.json, {duration(results.seconds)}")


def _callback(name: str) -> Callback:
    """An object of the class "module:Class"; DrakeError where there is none, or none of a callback."""
    from drake.federation.callbacks import Callback
    from drake.federation.registry import load_class

    found = load_class("callback", name)
    if not (isinstance(found, type) and issubclass(found, Callback)):
        raise DrakeError(
            f"callback {name!r} is no subclass of drake.federation.callbacks.Callback; derive it from that."
        )
    return found()

"""`drake.evaluate`, and what it shares with `drake eval`."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.catalog.benchmarks import DEFAULT
from drake.common.threads import threads, use_threads
from drake.config import Config, configure, required
from drake.config.sources import from_keywords
from drake.errors import DrakeError
from drake.federation.callbacks import Callback
from drake.results import Results
from drake.runs.engines import Engines, opened
from drake.runs.folder import Overwrite, is_run_folder
from drake.runs.named_paths import from_run_folder, given_by
from drake.runs.reporting import TensorBoard
from drake.runs.run import evaluate as run
from drake.runs.setup import Setup

if TYPE_CHECKING:
    from drake.federation.method import Method


def evaluate(
    method: str | type[Method] | None = None,
    preset: str | None = None,
    *,
    out: Path | str | None = None,
    overwrite: Overwrite = "only-missing",
    config: Path | str | Config | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Results:
    """Train and score a federation, as `drake eval` does, and return its results.

        drake.evaluate("sft", preset="quick", seeds=[0, 1], rank=16, training={"learning_rate": 1e-3})

    method: a name of `drake methods`, "module:Class", or a Method class. preset: quick, mini (the default) or paper.
    settings: named as the options of `drake eval`, by full name such as "training.rank", or as a mapping for each
    group; see docs/configuration.md. config: a configuration file that all these change, or a finished Config.
    out: the run folder; default: runs/METHOD-PRESET, which a run of the same settings continues. overwrite: see
    `drake.runs.folder.claim`. callbacks: are told how the run gets on; without them it is silent.
    Raises DrakeError for settings that no run can have, a folder that holds another run, and a path or repository that
    only the configuration file of a run folder names (see `drake.runs.named_paths`): name it as an argument too. Such a
    file's `feature_cache` is left out, with a warning, unless it is named.
    """
    if isinstance(config, Config):
        if method is not None or preset is not None:
            raise DrakeError("config is a finished Config, which has a method and a preset; leave those two out.")
        chosen = config.with_(**settings)
    else:
        chosen = configure(method, preset, file=config, **settings)
        if config is not None and is_run_folder(Path(config).parent):
            chosen = _of_run_folder(chosen, Path(config).parent, settings)
    folder = default_folder(required(chosen)) if out is None else Path(out)
    return execute(prepare(chosen, folder), folder, overwrite, callbacks)


def _of_run_folder(config: Config, run: Path, settings: Mapping[str, Any]) -> Config:
    """As `drake eval --config RUN/config.toml` takes the settings of a run folder, which may come from anybody."""
    how = "name it yourself too, with the argument {setting}={value!r}"
    config, unused = from_run_folder(config, run, given_by(from_keywords(settings)), how)
    if unused is not None:
        warnings.warn(
            f"the run kept encoded pictures in {unused!r}; to use them, name feature_cache={unused!r}.", stacklevel=3
        )
    return config


def default_folder(config: Config) -> Path:
    """Where a run is kept that names no folder: runs/METHOD-PRESET, and runs/METHOD-BENCHMARK-PRESET for another
    benchmark than DRAKE."""
    named = config.data.benchmark
    parts = [config.method.rsplit(":", 1)[-1].lower(), *([] if named == DEFAULT else [named]), config.preset]
    return Path("runs") / "-".join(parts)


def prepare(config: Config, out: Path) -> Setup:
    """The run of `config` with its data and backbones loaded, to be executed in the folder `out`."""
    return Setup(config, out, resident="cpu" if config.execution.engine == "ray" else None)


def execute(
    setup: Setup, out: Path, overwrite: Overwrite = "only-missing", callbacks: Sequence[Callback] = ()
) -> Results:
    """Train and score the prepared run, with the engine and threads that its Config names."""
    tensorboard = [TensorBoard(out / "tensorboard")] if setup.config.execution.tensorboard else []
    with opened_for(setup) as engines:
        return run(setup, out, overwrite, [*callbacks, *tensorboard], engines)


@contextmanager
def opened_for(setup: Setup) -> Generator[Engines, None, None]:
    """The engine and threads that the Config names, closed at the end."""
    execution = setup.config.execution
    with (
        _threads(execution.threads),
        opened(execution.engine, setup, execution.workers, execution.threads, execution.gpu_share) as engines,
    ):
        yield engines


@contextmanager
def _threads(count: int | None) -> Generator[None, None, None]:
    """PyTorch computes with `count` threads, and with as many as before afterwards: engines change the number too."""
    before = threads()
    try:
        if count is not None:
            use_threads(count)
        yield
    finally:
        use_threads(before)

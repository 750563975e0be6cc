"""All seeds of one evaluation, from the first round to results.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save

from drake.errors import DrakeError
from drake.federation.checkpoint import Checkpoints, Progress
from drake.engines.tasks import Engine
from drake.federation.loop import Observer, run_rounds
from drake.federation.method import Method
from drake.common.files import replacing
from drake.scoring.predictions import prediction_path, read_predictions, write_predictions
from drake.runs.provenance import environment
from drake.results import (
    FILE,
    ClientInfo,
    DataInfo,
    Environment,
    MethodInfo,
    ModelsInfo,
    Results,
    SeedRun,
    aggregate,
    load,
)
from drake.results import save as save_results

from drake.runs.batch_size import settle
from drake.runs.engines import Engines, serial
from drake.runs.evaluation import Evaluation
from drake.runs.folder import Overwrite, add_seeds, checkpoint_folder, claim, observed_path, working, write_command
from drake.runs.reporting import EVENTS, Events, Reporter, Several
from drake.runs.setup import Setup


class _Keeper(Observer):
    """Names the place of the state, stores what the mixing showed, and passes the news on."""

    def __init__(self, reporter: Reporter, folder: Path, seed: int, checkpoints: Checkpoints) -> None:
        self._reporter, self._folder, self._seed = reporter, folder, seed
        self.checkpoints = checkpoints

    def round_started(self, round: int, present: frozenset[int], done: Mapping[int, float | None]) -> None:
        self._reporter.round_started(round, present, done)

    def client_done(self, round: int, client: int, loss: float | None) -> None:
        self._reporter.client_done(round, client, loss)

    def mixed(self, rounds_done: int, method: Method) -> None:
        if seen := method.observed():
            with replacing(observed_path(self._folder, self._seed, rounds_done)) as temporary:
                temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in seen.items()}))

    def round_done(self, progress: Progress) -> None:
        self._reporter.round_done(progress.rounds_done)


def evaluate(
    setup: Setup,
    out: Path,
    overwrite: Overwrite = "only-missing",
    reporter: Reporter | None = None,
    command: Mapping[str, Any] | None = None,
    engines: Engines | None = None,
) -> Results:
    """Train and score every seed; returns what stands in OUT/results.json.

    command: see `folder.write_command`. engines: where the work is done; default: in this process.

    A folder that holds the same run is continued after its last stored round, or with the seeds that are new; a
    complete one is returned as it is.
    Raises DrakeError for a folder that holds something else.
    """
    setup.eval_tokens = settle(setup, out)
    claim(out, setup.config(), overwrite)
    with working(out):
        add_seeds(out, setup.config())
        return _evaluate(setup, out, reporter or Reporter(), command, engines or serial(setup))


def _evaluate(
    setup: Setup, out: Path, reporter: Reporter, command: Mapping[str, Any] | None, engines: Engines
) -> Results:
    if command is not None:
        write_command(out, command)
    before = load(out) if (out / FILE).exists() else None
    seeds = list(setup.settings.seeds)
    if before is not None and before.status == "complete" and [run.seed for run in before.runs] == seeds:
        return before
    clock = _Clock(before.seconds if before else 0.0, before.started if before else _now())
    where = environment(setup.device, setup.dtype, engines.processes)
    reporter = Several([reporter, Events(out / EVENTS)])
    reporter.started(setup)
    done = {run.seed: run for run in _finished(before)}
    runs: list[SeedRun] = []

    def store(partial: SeedRun) -> None:
        save_results(_results(setup, [*runs, partial], "running", clock, where), out)

    try:
        for seed in seeds:
            run = done.get(seed) or _run_seed(setup, out, engines.of_seed(seed), store, reporter)
            runs.append(run)
    except (KeyboardInterrupt, DrakeError):
        last = load(out) if (out / FILE).exists() else None
        if last is None or last.status != "complete":  # which stays so until a further seed has something to show
            found = last.runs if last else runs  # a seed may have points already
            save_results(_results(setup, found, "interrupted", clock, where), out)
        raise

    from drake.results.plots import curves  # here: a run that fails early should not wait for matplotlib

    results = _results(setup, runs, "complete", clock, where)
    curves([results], out / "curves.png")
    save_results(results, out)  # last: whoever reads "complete" finds everything
    return results


def _finished(before: Results | None) -> list[SeedRun]:
    """The seeds that need nothing more. Of a run that was stopped the last may have all its points and lack the state
    after them."""
    if before is None:
        return []
    return before.runs if before.status == "complete" else before.runs[:-1]


def _run_seed(setup: Setup, out: Path, engine: Engine, store: Callable[[SeedRun], None], reporter: Reporter) -> SeedRun:
    evaluation = Evaluation(setup, out, engine, reporter.answered)
    seed = evaluation.seed
    checkpoints = Checkpoints(checkpoint_folder(out, seed), setup.resident)
    progress = checkpoints.load()
    reporter.seed_started(seed, progress.rounds_done)
    if not prediction_path(out, seed, 0).exists():
        first = prediction_path(out, setup.settings.seeds[0], 0)
        if first.exists():  # before training all seeds are the same
            write_predictions(prediction_path(out, seed, 0), read_predictions(first))
        else:
            reporter.evaluating(0, evaluation.answer_count(0))
            evaluation.zero_shot()
            reporter.evaluated(0, None)

    def at_point(round: int, progress: Progress) -> None:
        reporter.evaluating(round, evaluation.answer_count(round))
        evaluation.point(round, progress)
        done = [point for point in setup.evaluation_rounds if point <= round]
        partial = evaluation.seed_run(progress, done)
        store(partial)
        reporter.evaluated(round, partial.summary["official"])

    keeper = _Keeper(reporter, out, seed, checkpoints)
    run_rounds(engine, at_point, setup.evaluation_rounds, progress, keeper, setup.settings.attendance)
    return evaluation.seed_run(progress, setup.evaluation_rounds)


class _Clock:
    """Wall-clock of a run over its pauses."""

    def __init__(self, seconds_before: float, started: str) -> None:
        self.started, self._before, self._since = started, seconds_before, time.perf_counter()

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._since


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _results(setup: Setup, runs: Sequence[SeedRun], status: str, clock: _Clock, where: Environment) -> Results:
    training, cost = setup.preset.training, setup.method_class.relative_cost
    config = json.loads(json.dumps(setup.config()))
    benchmark = setup.benchmark
    return Results(
        status=status,
        method=MethodInfo(
            name=setup.settings.method,
            reference=setup.method_class.reference,
            options=setup.options,
            relative_cost=cost,
            local_steps=training.local_steps(cost),
            batch=training.micro_batch * training.accumulation,
        ),
        evaluate_at="aggregated",
        preset=setup.preset.name,
        config=config,
        data=DataInfo(
            name=benchmark.name,
            source=benchmark.source,
            fingerprint=benchmark.fingerprint,
            split=setup.settings.split,
            seed=benchmark.seed,
            path=setup.settings.data,
        ),
        models=ModelsInfo(
            names=list(setup.architectures),
            assignment=setup.assignment.name,
            per_client=list(setup.assignment.models),
            revisions=config["revisions"],
        ),
        clients=[ClientInfo(id=c.id, model=c.backbone, tasks=list(c.tasks)) for c in setup.clients],
        runs=list(runs),
        summary=aggregate(runs),
        environment=where,
        started=clock.started,
        finished=_now() if status == "complete" else None,
        seconds=clock.seconds(),
    )

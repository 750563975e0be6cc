"""All seeds of one evaluation, from the first round to results.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save

from drake.common.files import replacing
from drake.engines.serial import Engine
from drake.errors import DrakeError
from drake.federation.callbacks import Callback, CallbackList, RoundContext, RunContext
from drake.federation.checkpoint import CheckpointCallback, Checkpoints
from drake.federation.loop import EvaluateAt, run_rounds
from drake.federation.measurements import measurements
from drake.results import (
    FILE,
    SCALARS,
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
from drake.runs.engines import Engines, serial
from drake.runs.evaluation import Evaluation
from drake.runs.folder import Overwrite, checkpoint_folder, claim, observed_path, store_settings, working
from drake.runs.provenance import environment
from drake.runs.reporting import EVENTS, Events
from drake.runs.setup import Setup
from drake.scoring.predictions import prediction_path, read_predictions, write_predictions

Status = Literal["complete", "running", "interrupted"]
"""How far a run is, as `Results.status` has it."""


class ObservedMatrices(Callback):
    """Stores the matrices that a method shows of its aggregations (`Method.observed`)."""

    def round_aggregated(self, round: RoundContext) -> None:
        run = round.run
        if run.folder is not None and round.has_uploads and (seen := run.method.observed()):
            with replacing(observed_path(run.folder, run.seed, round.number + 1)) as temporary:
                temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in seen.items()}))


def evaluate(
    setup: Setup,
    out: Path,
    overwrite: Overwrite = "only-missing",
    callbacks: Iterable[Callback] = (),
    engines: Engines | None = None,
) -> Results:
    """Train and score every seed; returns what stands in OUT/results.json.

    callbacks: called after those of the run itself, for each seed. engines: where the work is done; default: in this
    process.

    A folder that holds the same run is continued after its last stored round, or with the seeds that are new; a
    complete one is returned as it is.
    Raises DrakeError for a folder that holds something else.
    """
    claim(out, setup.identity(), overwrite, setup.config)
    finished = _finished_before(setup, out)
    if finished is not None:  # nothing is written, so that a read-only folder opens
        return finished
    with working(out):
        store_settings(out, setup.config, setup.identity())
        return _evaluate(setup, out, tuple(callbacks), engines or serial(setup))


def _evaluate(setup: Setup, out: Path, callbacks: Sequence[Callback], engines: Engines) -> Results:
    finished = _finished_before(setup, out)  # perhaps another process has just ended it
    if finished is not None:
        return finished
    before = load(out) if (out / FILE).exists() else None
    seeds = list(setup.config.seeds)
    clock = _Clock(before.seconds if before else 0.0, before.started if before else _now())
    where = environment(setup.device, setup.config.execution.dtype, engines.processes)
    all_callbacks = [ObservedMatrices(), Events(out / EVENTS), *callbacks]
    done = {run.seed: run for run in _finished(before)}
    runs: list[SeedRun] = []

    def store(partial: SeedRun) -> None:
        save_results(_results(setup, [*runs, partial], "running", clock, where), out)

    try:
        for seed in seeds:
            run = done.get(seed) or _run_seed(setup, out, engines.of_seed(seed), store, all_callbacks)
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


def _finished_before(setup: Setup, out: Path) -> Results | None:
    """The results in the folder where they are complete and have exactly the seeds that are asked for."""
    before = load(out) if (out / FILE).exists() else None
    if before is None or before.status != "complete":
        return None
    return before if [run.seed for run in before.runs] == list(setup.config.seeds) else None


def _finished(before: Results | None) -> list[SeedRun]:
    """The seeds that need nothing more. The last seed of an interrupted run may be fully evaluated but lack its final
    checkpoint."""
    if before is None:
        return []
    return before.runs if before.status == "complete" else before.runs[:-1]


def _run_seed(
    setup: Setup, out: Path, engine: Engine, store: Callable[[SeedRun], None], callbacks: Sequence[Callback]
) -> SeedRun:
    evaluation = Evaluation(setup, out, engine, CallbackList(callbacks))
    checkpoints = Checkpoints(checkpoint_folder(out, evaluation.seed), setup.resident)
    worker, scored = engine.worker, setup.config.evaluation
    run = RunContext(
        worker.federation, worker.method, checkpoints.load(), setup.config.method, _plain(setup.identity()), out
    )

    def score(run: RunContext, rounds_done: int, moment: EvaluateAt) -> Mapping[str, float | None] | None:
        if not rounds_done:
            return {} if _score_bare_backbones(evaluation, run, out, setup.config.seeds[0]) else None
        evaluation.point(rounds_done, run, moment)
        partial = evaluation.seed_run(
            run.progress, [point for point in setup.evaluation_rounds if point <= rounds_done]
        )
        store(partial)
        if moment != scored.at:
            return {}  # the averages of the other moment were told
        return {name: getattr(partial.summary["official"], name) for name in SCALARS}

    run_rounds(
        engine,
        run,
        [*measurements(), CheckpointCallback(checkpoints), *callbacks],
        participation=setup.participation,
        evaluate=score,
        evaluation_rounds=(0, *setup.evaluation_rounds),
        evaluate_at=scored.at,
        also_aggregated=scored.also_aggregated,
    )
    return evaluation.seed_run(run.progress, setup.evaluation_rounds)


def _score_bare_backbones(evaluation: Evaluation, run: RunContext, out: Path, first_seed: int) -> bool:
    """Point 0, and whether it had to be computed; before training all seeds are the same."""
    path, first = (prediction_path(out, seed, 0) for seed in (run.seed, first_seed))
    if path.exists():
        return False
    if first.exists():
        write_predictions(path, read_predictions(first))
        return False
    evaluation.zero_shot(run)
    return True


class _Clock:
    """Wall-clock of a run over its pauses."""

    def __init__(self, seconds_before: float, started: str) -> None:
        self.started, self._before, self._since = started, seconds_before, time.perf_counter()

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._since


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as JSON has it: lists, not tuples."""
    return dict(json.loads(json.dumps(config)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _results(setup: Setup, runs: Sequence[SeedRun], status: Status, clock: _Clock, where: Environment) -> Results:
    training, cost = setup.config.training, setup.method_class.relative_cost
    config = _plain(setup.identity())
    benchmark = setup.benchmark
    return Results(
        status=status,
        method=MethodInfo(
            name=setup.config.method,
            reference=setup.method_class.reference,
            options=dict(setup.config.method_options),
            relative_cost=cost,
            local_steps=training.local_steps(cost) if setup.method_class.trains else 0.0,
            batch=training.micro_batch * training.accumulation,
        ),
        evaluate_at=setup.config.evaluation.at,
        preset=setup.config.preset,
        config=config,
        data=DataInfo(
            name=benchmark.name,
            source=benchmark.source,
            fingerprint=benchmark.fingerprint,
            split=setup.config.data.split,
            seed=benchmark.seed,
            path=setup.config.data.path,
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

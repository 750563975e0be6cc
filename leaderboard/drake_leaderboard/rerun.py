"""`drake validate --rerun`: a seed of a submission trained again with the recorded settings, and its answers compared
bit for bit. For what runs on a CPU: the same settings, seed and versions give the same bits there, with any engine.

Only a registered method and backbones that come with drake are used: nothing that the folder names is opened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from drake.common.differences import setting_differences
from drake.config import Config, configure
from drake.config.schema import known_settings
from drake.config.values import check_range
from drake.data.schedules import num_rounds
from drake.errors import DrakeError
from drake.models.checkpoints import embedded
from drake.results import Results
from drake.results.dataset import dataset_of
from drake.runs.api import execute, prepare
from drake.scoring.predictions import Prediction, read_predictions

from .claims import Claims
from .tickets import answer_files

MOST = {"rank": 4096, "steps": 10_000, "micro_batch": 4096, "accumulation": 4096}
"""Limits of what a rerun takes; the presets are far below."""
ELSEWHERE = ("seeds", "device", "versions")
"""Parts of a run's identity that may be others here."""


def differences(folder: Path, results: Results, seed: int, data: Path | str | None = None) -> list[str]:
    """Train `seed` of a submission again; one sentence for each file of answers that is another one now, none where
    all are the same. results: those that `validate` found sound. Raises DrakeError where it cannot be run again."""
    if seed not in [run.seed for run in results.runs]:
        raise DrakeError(f"{folder} has no seed {seed}; it has {', '.join(str(run.seed) for run in results.runs)}.")
    config = recorded_config(results, seed, data)
    with tempfile.TemporaryDirectory(prefix="drake-rerun-") as scratch:
        out = Path(scratch) / "run"
        setup = prepare(config, out)
        now: dict[str, Any] = json.loads(json.dumps(setup.identity()))
        here = {key: value for key, value in now.items() if key not in ELSEWHERE}
        recorded = {key: value for key, value in results.config.items() if key not in ELSEWHERE}
        if other := list(setting_differences(recorded, here, between=", now ")):
            raise DrakeError(f"{folder} cannot be run again as it was recorded: it differs in {'; '.join(other[:3])}.")
        execute(setup, out)
        found = list(_compare(folder, out, results, seed))
        versions = list(setting_differences(results.config["versions"], now["versions"], between=", now "))
    if found and versions:
        found = [f"{sentence} (recorded with other versions: {'; '.join(versions[:4])})" for sentence in found]
    return found


def recorded_config(results: Results, seed: int, data: Path | str | None = None) -> Config:
    """The settings that the results record, for one seed on the CPU. Raises DrakeError for a method that is not
    registered, backbones that do not come with drake, public records of another source and numbers out of range."""
    claims, config = Claims(results, dataset_of(results, data)), results.config
    if claims.method is None:
        raise DrakeError(f"the method {results.method.name!r} is not registered, so its code is not run.")
    if not claims.trains:
        raise DrakeError(f"{results.method.name} trains nothing; its adapters are not here, so it cannot be run again.")
    if strange := sorted(set(results.models.names) - set(embedded())):
        raise DrakeError(f"the backbone {strange[0]!r} does not come with drake, so it is not opened.")
    if "benchmark" in config:
        raise DrakeError(f"runs of the benchmark {config['benchmark']!r} cannot be run again yet; only those of DRAKE.")
    if "public" in config:
        raise DrakeError("the run used public records of another source, which are not opened.")
    if config["device"] != "cpu":
        raise DrakeError(f"the run was made on {config['device']!r}; the same bits are only expected on a CPU.")
    numbers, tokens = cast("dict[str, Any]", config["numbers"]), cast("dict[str, int]", config["eval_tokens"])
    if len(set(tokens.values())) != 1:
        raise DrakeError("the backbones were asked in batches of different sizes, which cannot be repeated.")
    name = results.method.name
    own: dict[str, Any] = {name: results.method.options} if results.method.options else {}
    base = configure(name, results.preset, **own)
    there = claims.participation
    chosen = replace(
        base,
        models=tuple(numbers["models"]),
        rounds_per_task=numbers["rounds_per_task"],
        rounds=None,
        seeds=(seed,),
        prompts=config.get("prompts", "auto"),
        pictures=config.get("pictures", "auto"),
        load_in=config.get("load_in", "full"),
        training=claims.training,
        evaluation=replace(
            base.evaluation,
            records=config["eval_records"],
            records_others=config["eval_records_others"],
            records_unseen=config.get("eval_records_unseen"),
            unseen=config.get("eval_unseen", "none"),
            sample=config["eval_sample"],
            at=results.evaluate_at,
            also_aggregated=config["also_aggregated"],
            max_new_tokens=numbers["max_new_tokens"],
            tokens=next(iter(tokens.values())),
            every=_every(claims),
        ),
        data=replace(
            base.data,
            train=numbers["train"],
            test=numbers["test"],
            public=numbers["public"],
            path=None if data is None else str(data),
            clients=config.get("clients"),
            split=results.data.split,
            alpha=config["alpha"],
        ),
        participation=replace(
            base.participation,
            share=there.participation,
            client_dropout=there.dropout,
            deadline=there.deadline,
            absent=there.absent,
            late={str(client): start + 1 for client, start in there.late},
        ),
        execution=replace(base.execution, dtype=config["dtype"], compile=config["compile"], device="cpu"),
    )
    _check(chosen)
    return chosen


def _check(config: Config) -> None:
    for group in ("training", "evaluation", "data"):
        for name, value in asdict(getattr(config, group)).items():
            known = known_settings()[f"{group}.{name}"]
            if value is not None:
                check_range(f"{group}.{name}", value, known.setting)
            if value is not None and value > MOST.get(name, value):
                raise DrakeError(f"{name} is {value}, more than a rerun takes ({MOST[name]:,}).")


def _every(claims: Claims) -> int | None:
    """The interval between evaluation points; None for the ends of the tasks."""
    points = claims.results.config["evaluation_rounds"]
    per_task = cast("float", cast("dict[str, Any]", claims.results.config["numbers"])["rounds_per_task"])
    longest = max(len(client.tasks) for client in claims.results.clients)
    ends = sorted({num_rounds(phase, per_task) for phase in range(1, longest + 1)})
    return None if points == ends else cast("list[int]", points)[0]


def _compare(folder: Path, again: Path, results: Results, seed: int) -> Iterator[str]:
    for name in sorted(answer_files(folder, results)):
        if f"/seed-{seed}/" not in f"/{name}":
            continue
        then, now = read_predictions(folder / name), read_predictions(again / name)
        if then != now:
            wrong = [one for one, other in zip(then, now, strict=False) if one != other]
            first: Prediction | None = wrong[0] if wrong else None
            where = f", the first to {first.id} by client {first.client}" if first else ""
            yield f"{name}: {len(wrong):,} of {len(then):,} answers are others when seed {seed} is trained again{where}"

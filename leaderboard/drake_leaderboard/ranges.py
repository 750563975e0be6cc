"""Whether every value that a results file records is one that a run can have: the settings by their type and range, as
`drake eval` reads them, and the facts about machine and versions by their form. Every fault is a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version

from drake.data.schedules import num_rounds
from drake.errors import DrakeError
from drake.runs.clients import attendance, check_participation
from drake.runs.provenance import PACKAGES

from .claims import Claims, check_setting, mapping, short, unequal

SETTINGS = {
    "eval_records": "evaluation.records",
    "eval_records_others": "evaluation.records_others",
    "eval_sample": "evaluation.sample",
    "eval_unseen": "evaluation.unseen",
    "evaluate_at": "evaluation.at",
    "also_aggregated": "evaluation.also_aggregated",
    "alpha": "data.alpha",
    "clients": "data.clients",
    "dtype": "execution.dtype",
    "compile": "execution.compile",
}
"""Key of `Results.config` -> the setting that it records."""
NUMBERS = {
    "rounds_per_task": "rounds_per_task",
    "train": "data.train",
    "test": "data.test",
    "public": "data.public",
    "eval_records": "evaluation.records",
    "max_new_tokens": "evaluation.max_new_tokens",
}
"""The same for `config["numbers"]`."""
ATTENDANCE = {
    "participation": "participation.share",
    "dropout": "participation.client_dropout",
    "deadline": "participation.deadline",
}
OF_DATA = {"fingerprint", "seed", "train", "test", "public_per_world"}
MOST_COUNT = 1_000_000
"""Cores, threads and processes."""
FASTEST = 1e16
"""Floating point operations a second of one process, on any device: ten times an H100's matrix products."""
MOST_ANSWERS = 1e6
"""Answers a second of one process."""

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VERSION = re.compile(r"\d[0-9A-Za-z.+!_-]{0,59}")


def contradictions(claims: Claims) -> Iterator[str]:
    """One sentence for each, in results that have the `shapes` of a run."""
    yield from _faults(claims)
    yield from _environment(claims)
    yield from _speed(claims)


def _faults(claims: Claims) -> Iterator[str]:
    config, results = claims.results.config, claims.results
    numbers, there = mapping(config["numbers"]), mapping(config["attendance"])
    values = [(f"config.{key}", config[key], name) for key, name in SETTINGS.items() if key in config]
    values += [(f"config.numbers.{key}", numbers[key], name) for key, name in NUMBERS.items() if key in numbers]
    values += [(f"config.attendance.{key}", there[key], name) for key, name in ATTENDANCE.items() if key in there]
    tokens = mapping(config["eval_tokens"])
    values += [(f"config.eval_tokens.{model}", size, "evaluation.tokens") for model, size in tokens.items()]
    if "eval_records_unseen" in config:  # 0 stands for all there
        values.append(("config.eval_records_unseen", config["eval_records_unseen"], "evaluation.records"))
    for what, value, name in values:
        try:
            check_setting(what, value, name)
        except DrakeError as error:
            yield str(error).rstrip(".")
            return
    if odd := sorted(mapping(config["data"]).keys() ^ OF_DATA):
        yield f"config.data {'has' if odd[0] not in OF_DATA else 'lacks'} {short(odd[0])}, unlike every run"
        return
    recorded = mapping(config["data"])["fingerprint"]
    yield from unequal(("config.data.fingerprint", recorded, "data.fingerprint", results.data.fingerprint))
    try:
        taken = claims.participation
        longest = max(len(client.tasks) for client in results.clients)
        rounds = num_rounds(longest, numbers.get("rounds_per_task", 1)) if claims.trains else 1
        check_participation(taken, len(results.clients), rounds)
        due = json.loads(json.dumps(attendance(taken)))
        yield from unequal(("config.attendance", there, "as a run records it", due))
    except DrakeError as error:
        yield str(error).rstrip(".")


def _environment(claims: Claims) -> Iterator[str]:
    where, machine = claims.results.environment, claims.results.environment.machine
    if not _DEVICE.fullmatch(where.device):
        yield f"environment.device is {short(where.device)}, which is no device of drake"
    if not _VERSION.fullmatch(where.python):
        yield f"environment.python is {short(where.python)}, which is no version"
    for name, found in where.packages.items():
        if name not in PACKAGES:
            yield f"environment.packages has {short(name)}, whose version no run records"
            return
        if not _VERSION.fullmatch(found):
            yield f"environment.packages.{name} is {short(found)}, which is no version"
    if where.git_commit is not None and not _COMMIT.fullmatch(where.git_commit):
        yield f"environment.git_commit is {short(where.git_commit)}, which is no commit"
    if (where.git_commit is None) != (where.git_dirty is None):
        yield "environment has only one of git_commit and git_dirty, which a run records together"
    for name in ("cores", "threads", "processes"):
        if not 1 <= getattr(machine, name) <= MOST_COUNT:
            yield f"environment.machine.{name} is {short(getattr(machine, name))}, which no machine has"


def _speed(claims: Claims) -> Iterator[str]:
    """Times that are too short; those of 0 are `schedule`'s finding."""
    results = claims.results
    processes = max(1, results.environment.machine.processes)
    for run in results.runs:
        if run.flops is not None and run.flops > FASTEST * processes * run.seconds_train > 0:
            yield f"seed {run.seed} took {run.seconds_train:.2g} s for {run.flops:.2g} FLOPs, which no machine does"
        asked = sum(value is not None for points in run.scores["official"] for row in points for value in row)
        if asked > MOST_ANSWERS * processes * run.seconds_eval > 0:
            yield f"seed {run.seed} took {run.seconds_eval:.2g} s for its answers, which no machine does"


def newer(claims: Claims) -> Iterator[str]:
    """Of which version of drake the results are, where it is not this one's or an earlier one's."""
    theirs, mine = claims.results.environment.packages.get("drake-bench"), version("drake-bench")
    if theirs is not None and _parts(theirs) > _parts(mine):
        yield f"the run was made with drake {theirs}, which is newer than the one that checks it ({mine})"


def _parts(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3]]

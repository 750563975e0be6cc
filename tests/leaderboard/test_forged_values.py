"""Forged submissions: values that no run can have, each refused with a sentence that names it.

Every setting that results.json records is of its type and in its range, and the facts of machine and versions have
their form, whether or not another number depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drake_leaderboard import ranges, validation
from drake_leaderboard.claims import check_setting
from forging import Json, both, falsify, put, refusals

from drake.config.schema import known_settings
from drake.errors import DrakeError

Change = Callable[[Json], Any]


def versions(**found: str) -> Change:
    return both("versions", "environment", "packages", found)


def machine(key: str, value: Any) -> Change:
    return put("environment", "machine", key, value)


VALUES: dict[str, tuple[Change, str]] = {
    "a sample of one's choice": (put("config", "eval_sample", "best"), "of the results is 'best'; it must be"),
    "a list as sample": (put("config", "eval_sample", ["first"]), "of the results is ['first']; it must be"),
    "fewer records than none": (put("config", "eval_records_others", -1), "is -1, which is no number of records"),
    "records as text": (put("config", "eval_records_others", "4"), "is '4', which is no number of records"),
    "batches below zero": (put("config", "eval_tokens", {"model": -5}), "config.eval_tokens.model is -5"),
    "batches as text": (put("config", "eval_tokens", {"model": "x"}), "config.eval_tokens.model is 'x'"),
    "answers without end": (put("config", "numbers", "max_new_tokens", 10**40), "max_new_tokens is 1000"),
    "a length as text": (put("config", "numbers", "max_new_tokens", "8"), "is '8', which is no whole number"),
    "alpha as text": (put("config", "alpha", "0.5"), "config.alpha is '0.5', which is no number"),
    "alpha below zero": (put("config", "alpha", -1), "config.alpha is -1; it must be more than zero"),
    "a truth value as alpha": (put("config", "alpha", True), "config.alpha is True, which is no number"),
    "rounds below zero": (put("config", "numbers", "rounds_per_task", -1), "rounds_per_task is -1; it must be more"),
    "no rounds": (put("config", "numbers", "rounds_per_task", 0), "rounds_per_task is 0; it must be more"),
    "another fingerprint in the config": (put("config", "data", "fingerprint", "0" * 64), "config.data.fingerprint is"),
    "a key of one's own in the data": (put("config", "data", "extra", 1), "config.data has 'extra', unlike every run"),
    "weights of a type that is none": (both("dtype", "environment", "dtype", "float8"), "dtype is 'float8'"),
    "a device that is none": (both("device", "environment", "device", "abacus"), "device is 'abacus', which is no"),
    "a package that no run records": (versions(numpy="2.0", luck="7"), "packages has 'luck'"),
    "a version of words": (versions(numpy="the newest"), "packages.numpy is 'the newest', which is no version"),
    "a Python of words": (put("environment", "python", "three [bold]"), "python is 'three [bold]'"),
    "a commit that is markup": (put("environment", "git_commit", "<script>"), "'<script>', which is no commit"),
    "changes of no commit": (put("environment", "git_dirty", False), "only one of git_commit and git_dirty"),
    "cores below zero": (machine("cores", -2), "machine.cores is -2"),
    "cores without end": (machine("cores", 10**18), "machine.cores is 1000000000000000000"),
    "no threads": (machine("threads", 0), "machine.threads is 0"),
    "no process": (machine("processes", 0), "machine.processes is 0"),
    "training in no time": (put("runs", 0, "seconds_train", 1e-9), "FLOPs, which no machine does"),
    "answers in no time": (put("runs", 0, "seconds_eval", 1e-300), "s for its answers, which no machine does"),
    "a message without end": (put("runs", 0, "traffic", 0, "bytes", 10**350), "more than 1,125,899,906,842,624 bytes"),
    "a score without end": (put("runs", 0, "scores", "official", 1, 0, 0, 1e308), "a score of seed 0 is above 1,000"),
    "a client without tasks": (put("clients", 0, "tasks", []), "a client has no task"),
    "a curve of no points": (put("runs", 0, "summary", "official", "self_curve", []), "other clients or points than"),
    "a summary that is missing": (put("summary", {}), "summary must hold exactly the protocols"),
    "relevance of ragged rows": (put("runs", 0, "relevance", [[[1.0], [1.0, 0.5]]] * 4), "is not of 2 x 2 clients"),
    "a late client that does not exist": (put("config", "attendance", "late", {"9": 2}), "names client 9"),
    "a late client of words": (put("config", "attendance", "late", {"a": "b"}), "is no participation"),
    "a late client after the end": (put("config", "attendance", "late", {"0": 9}), "but the run has 4"),
    "participation as text": (put("config", "attendance", "participation", "1"), "is '1', which is no number"),
    "a truth value as participation": (put("config", "attendance", "participation", True), "is True"),
    "a deadline below zero": (put("config", "attendance", "deadline", -1.0), "deadline is -1.0; it must be more"),
    "absent clients named otherwise": (put("config", "attendance", "absent", []), "as a run records it"),
    "relevance of a method without": (put("runs", 0, "relevance", [[[1.0] * 2] * 2] * 4), "but sft computes none"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_no_run_has_is_refused(honest: Path, name: str) -> None:
    change, sentence = VALUES[name]
    found = refusals(honest, change)
    assert any(sentence in refusal for refusal in found), found


def test_a_run_of_a_newer_drake_is_told(honest: Path) -> None:
    falsify(honest, versions(**{"drake-bench": "99.1"}))
    found = validation.validate(honest)
    assert found.refused == []
    assert any("made with drake 99.1, which is newer" in sentence for sentence in found.said)


def test_every_recorded_setting_is_checked_by_the_type_that_drake_gives_it() -> None:
    for name in {*ranges.SETTINGS.values(), *ranges.NUMBERS.values(), *ranges.ATTENDANCE.values()}:
        default = known_settings()[name].default
        if isinstance(default, bool | int | float | str | None):
            check_setting("it", default, name)
        for wrong in ([], {}, "none of the words"):
            with pytest.raises(DrakeError, match="it is "):
                check_setting("it", wrong, name)

"""Forged submissions: each is refused with a sentence or pointed out, whatever was signed again afterwards.

Here the stored answers.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drake_leaderboard import costs, ranking, submission, validation
from drake_leaderboard.answers import Answers
from forging import Fabricate, change_rows, falsify, first, put, sign

from drake.errors import DrakeError
from drake.results import load, run_folders

ANSWERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "other answers before training": (
        lambda f: change_rows(f, 0, lambda rows: [rows[0]._replace(text="sky"), *rows[1:]]),
        "before training of seeds 0 and 1 differ",
    ),
    "other answers of the same weights": (
        lambda f: change_rows(f, 0, lambda rows: [rows[0]._replace(text="sky"), *rows[1:]], (0, 1)),
        "which has the same weights",
    ),
    "another order": (lambda f: change_rows(f, 1, lambda rows: rows[::-1]), "not in the order in which drake writes"),
    "another point": (lambda f: change_rows(f, 1, first(point=2)), "is filed under"),
    "another round": (lambda f: change_rows(f, 1, first(round=3)), "is filed under"),
    "a client that does not exist": (
        lambda f: change_rows(f, 1, lambda rows: [rows[0]._replace(client=-1), *rows[1:]]),
        "the run has no client -1",
    ),
    "a token that does not exist": (
        lambda f: change_rows(
            f, 2, lambda rows: [r if r.predicted_ids is None else r._replace(predicted_ids=[-1]) for r in rows]
        ),
        "a token id is no id of a vocabulary",
    ),
    "an id that rules the terminal": (
        lambda f: change_rows(f, 1, first(id="\x1b[2J\u202e" + "x" * 10_000)),
        "record \\x1b[2J\\u202exxx",
    ),
    "a task that rules the terminal": (
        lambda f: change_rows(f, 1, first(task="\x1b[2J" + "x" * 10_000)),
        "task \\x1b[2Jxxx",
    ),
    "token ids where none belong": (
        lambda f: change_rows(f, 1, lambda rows: [r._replace(predicted_ids=r.predicted_ids or [7]) for r in rows]),
        "answers a choice question, but has token ids",
    ),
    "a long answer that is marked": (lambda f: change_rows(f, 1, first(text="x" * 10_000)), "…' is marked"),
    "an answer of megabytes": (
        lambda f: change_rows(f, 1, lambda rows: [rows[0]._replace(text="x" * 3_000_000), *rows[1:]]),
        "a text of 3,000,000 bytes",
    ),
    "answers a hundred times": (lambda f: change_rows(f, 1, lambda rows: rows * 100), "rows, more than"),
    "a marked answer": (
        lambda f: change_rows(f, 2, lambda rows: [r._replace(correct=r.correct and True, picked="red") for r in rows]),
        "is marked",
    ),
    "gold of the forger": (lambda f: change_rows(f, 1, lambda rows: [rows[0]._replace(gold="sky"), *rows[1:]]), "gold"),
    "no answer": (lambda f: change_rows(f, 1, lambda rows: rows[:-1]), "lacks 1 answers"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_no_run_gives_are_refused(honest: Path, name: str) -> None:
    change, sentence = ANSWERS[name]
    change(honest)
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused
    assert all(len(refusal) < 1500 and "\x1b" not in refusal for refusal in found.refused)


def test_one_seed_is_not_two(fabricate: Fabricate, tmp_path: Path) -> None:
    one = fabricate("one", seeds=(0,))
    content = json.loads((one / "results.json").read_text())
    twin = copy.deepcopy(content["runs"][0]) | {"seed": 1}
    content["runs"].append(twin)
    content["config"]["seeds"] = [0, 1]
    for protocol in content["summary"].values():
        for estimate in protocol.values():
            if estimate["mean"] is not None:
                estimate |= {"stderr": 0.0, "n": 2}
    (one / "results.json").write_text(json.dumps(content))
    shutil.copytree(one / "predictions/seed-0", one / "predictions/seed-1")
    with pytest.raises(DrakeError, match="seeds 0 and 1 gave the same answers after training"):
        submission.submit(one, tmp_path / "out")


def test_what_is_suspicious_but_possible_is_said(honest: Path, fabricate: Fabricate, tmp_path: Path) -> None:
    copied = tmp_path / "submissions" / "renamed"
    shutil.copytree(honest, copied)
    sign(copied, name="My own method")
    found = validation.validate(copied, others=[honest, copied])
    assert found.refused == []
    assert any("are those of seed 0 of the submission honest" in sentence for sentence in found.said)
    falsify(honest, put("config", "numbers", "training", "rank", 16))
    found = validation.validate(honest)
    assert any("rank is 16 where the preset has 8" in sentence for sentence in found.said)


def test_flops_far_from_those_of_the_track_are_said(honest: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(honest, tmp_path / "other"))
    falsify(honest, put("runs", 0, "flops", 1.0))
    found = validation.validate(honest, others=[other])
    assert found.refused == []
    assert any("a seed took 1 FLOPs, where the submission other" in sentence for sentence in found.said)
    results = load(other)
    assert list(costs.unlike(results, results, "itself")) == []


def test_no_two_bundled_submissions_are_taken_for_copies() -> None:
    found = [Answers(path, load(path)) for path in run_folders(ranking.default_paths()[:1])]
    assert len(found) == 11
    assert [
        line for mine in found[:3] for other in found if mine is not other for line in mine.copied_from(other)
    ] == []
    assert [line for mine in found for line in (*mine.other_start(found[0]), *mine.suspicions())] == []


def test_bundled_submissions_pass() -> None:
    """`drake validate` of the workflow scores all of them again, this test one."""
    for folder in run_folders(ranking.default_paths()[:1]):
        results = load(folder)
        assert validation.refusals(folder, results, None) == []
    found = validation.validate(folder)
    assert (found.refused, found.checked) == ([], True)
    assert all("the scores after the aggregation are not proved" in said for said in found.said)

"""Forged submissions: each is refused with a sentence or pointed out, whatever was signed again afterwards.

Here settings, schedules, scores and texts of results.json. The honest submission is the fabricated run of two seeds
(`fabricated_runs`), whose files a forger changes; then the ticket is made anew, with the right hashes, so that only
what does not follow can give the forgery away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from drake_leaderboard import tickets, validation
from forging import Json, both, falsify, put, refusals

from drake.errors import DrakeError
from drake.results import load
from drake.results.dataset import NoDataset, dataset_of


def test_the_honest_submission_passes(honest: Path) -> None:
    found = validation.validate(honest)
    assert (found.refused, found.checked) == ([], True)
    assert {sentence.split(": ", 1)[1].split("'")[0] for sentence in found.said} == {
        "the backbone ",
        "the tokenizer of ",
    }
    ticket = tickets.read_ticket(honest)
    assert (ticket["name"], ticket["authors"], ticket["repo_id"]) == (
        "Fine-tuning",
        ["A. Author", "B. Author"],
        "owner/name",
    )


TOMORROW = (datetime.now(UTC) + timedelta(days=3)).isoformat(timespec="seconds")
CONFIG: dict[str, tuple[Callable[[Json], Any], str]] = {
    "a key that no run has": (put("config", "trust", "me"), "config has the key 'trust'"),
    "a key that is missing": (lambda r: r["config"].pop("attendance"), "config lacks 'attendance'"),
    "another method in the config": (put("config", "method", "fedit"), "config.method is 'fedit', but method.name"),
    "another method": (both("method", "method", "name", "fedit"), "reference"),
    "an option that the method lacks": (both("options", "method", "options", {"x": 1}), "unknown option 'x'"),
    "options only in one place": (put("method", "options", {"x": 1}), "config.options is"),
    "another citation": (put("method", "reference", "Mine, 2026"), "method.reference is 'Mine, 2026'"),
    "cheap steps": (put("method", "relative_cost", 0.5), "method.relative_cost is 0.5"),
    "no cost": (put("method", "relative_cost", 0.0), "no cost"),
    "other steps": (put("method", "local_steps", 4.0), "method.local_steps is 4.0"),
    "another batch": (put("method", "batch", 64), "method.batch is 64"),
    "another preset": (put("config", "preset", "paper"), "config.preset is 'paper'"),
    "a preset that is none": (both("preset", "preset", "huge"), "unknown preset 'huge'"),
    "the numbers of another preset": (
        both("preset", "preset", "paper"), "eval_tokens is 2048, but the preset's is 65536"
    ),
    "a number of training left out": (lambda r: r["config"]["numbers"]["training"].pop("rank"), "lacks 'rank'"),
    "a number of training too many": (put("config", "numbers", "training", "luck", 1), "no number of training"),
    "a truth value as rank": (put("config", "numbers", "training", "rank", True), "is True, which is no whole number"),
    "a text as rank": (put("config", "numbers", "training", "rank", "8"), "is '8', which is no whole number"),
    "numbers that are a list": (put("config", "numbers", []), "config.numbers is no object"),
    "records of two kinds": (put("config", "numbers", "eval_records", 2), "config.numbers.eval_records is 2"),
    "other sizes of data": (put("config", "numbers", "train", 40), "config.numbers.train is 40"),
    "another moment": (put("evaluate_at", "trained"), "config.evaluate_at is 'aggregated', but evaluate_at is"),
    "another assignment": (put("config", "assignment", ["model", "other"]), "config.assignment is"),
    "other revisions": (put("config", "revisions", {"model": "2"}), "config.revisions is"),
    "a revision of nobody": (
        both("revisions", "models", "revisions", {"model": "1", "ghost": "2"}), "disagree about 'ghost'"
    ),
    "another split": (put("config", "split", "static"), "config.split is 'static'"),
    "a split that is none": (both("split", "data", "split", "easy"), "which is no split"),
    "another name of the data": (put("data", "name", "DRAKE"), "data.name is 'DRAKE', but the dataset's is"),
    "another source of the data": (put("data", "source", "folder"), "data.source is 'folder', but without a data.path"),
    "other seeds in the config": (put("config", "seeds", [0, 1, 2]), "config.seeds is [0, 1, 2]"),
    "a truth value as seed in the config": (put("config", "seeds", [0, True]), "config.seeds is [0, True]"),
    "another device": (put("environment", "device", "cuda"), "config.device is 'cpu'"),
    "other versions": (put("config", "versions", {"numpy": "3.0"}), "config.versions is"),
    "fewer rounds": (put("config", "numbers", "rounds_per_task", 1), "evaluation_rounds is [2, 4]"),
    "endless rounds": (put("config", "numbers", "rounds_per_task", 1e300), "rounds, more than 100,000"),
    "rounds that are text": (put("config", "numbers", "rounds_per_task", "2"), "is '2', which is no number"),
    "points of one's choice": (put("config", "evaluation_rounds", [1, 4]), "evaluated at the ends of the"),
    "points that are another type": (put("config", "evaluation_rounds", 4), "config.evaluation_rounds is no list"),
    "losses of fewer rounds": (lambda r: r["runs"][0]["train_loss"].pop(), "has 3 rounds, the schedule 4"),
    "a loss that is missing": (put("runs", 0, "train_loss", 1, 0, None), "round 2, client 0 is missing"),
    "a loss below zero": (put("runs", 1, "train_loss", 0, 1, -0.5), "is -0.5, below zero"),
    "losses of absent clients": (put("config", "attendance", "absent", [1]), "but the client took no part"),
    "nobody takes part": (put("config", "attendance", "participation", 0), "must be above 0"),
    "a participation that is none": (put("config", "attendance", "luck", 1), "is no participation"),
    "losses of the other seed": (
        lambda r: put("runs", 1, "train_loss", r["runs"][0]["train_loss"])(r),
        "have the same losses in every round",
    ),
    "no answers before training": (put("runs", 0, "zero_shot", None), "prediction files"),
    "no time": (put("runs", 0, "seconds_train", 0.0), "seconds of seed 0 are 0"),
    "more aggregation than training": (put("runs", 0, "seconds_aggregation", 91.0), "more than seconds_train"),
    "no operations": (put("runs", 0, "flops", 0.0), "flops of seed 0 are 0"),
    "seeds longer than the run": (put("seconds", 1.0), "the whole run 1"),
    "a run longer than its times": (put("finished", "2026-01-01T00:01:00+00:00"), "after it started"),
    "a time of words": (put("started", "yesterday"), "is no ISO 8601 time"),
    "a run that ends before it begins": (put("finished", "2025-01-01T00:00:00+00:00"), "before it started"),
    "a run of tomorrow": (put("finished", TOMORROW), "finished in the future"),
    "a relevance of other rounds": (put("runs", 0, "relevance", [None]), "relevance of seed 0 has 1 rounds"),
    "a relevance above one": (put("runs", 0, "relevance", [[[9.0, 0.0], [0.0, 9.0]]] * 4), "a cosine above 1"),
    "a relevance of another shape": (put("runs", 0, "relevance", [[[1.0]]] * 4), "is not of 2 x 2 clients"),
    "weights of an odd size": (put("config", "load_in", "2bit"), "config.load_in is '2bit'; where it is recorded"),
    "prompts that every run has": (put("config", "prompts", "auto"), "config.prompts is 'auto'; where it is recorded"),
    "adapters of elsewhere that were trained": (put("config", "adapters", ["0" * 64] * 2), "config has the key 'adap"),
    "a benchmark of nobody": (put("config", "benchmark", "mine"), "config.benchmark is 'mine', which this version"),
    "a list as benchmark": (put("config", "benchmark", [1]), "config.benchmark is [1], which this version"),
    "a public split without its digest": (put("config", "public", {"most": 1}), "config.public must hold"),
    "unseen tasks at no moment": (put("config", "eval_unseen", "never"), "config.eval_unseen is 'never'"),
    "more clients than there are": (put("config", "clients", 3), "other tasks than those of the dataset"),
    "a fraction as rank": (put("config", "numbers", "training", "rank", 8.5), "is 8.5, which is no whole number"),
    "a rank below zero": (put("config", "numbers", "training", "rank", -1), "training.rank is -1"),
    "endless steps": (put("config", "numbers", "training", "steps", 10**300), "which no run takes"),
    "losses of more clients": (
        lambda r: r["runs"][0]["train_loss"][1].append(1.0), "does not have 2 clients in every round"
    ),
    "rounds that are not trained": (put("config", "numbers", "trained", False), "has 'trained', unlike every run"),
    "scores after the aggregation": (put("config", "also_aggregated", True), "also_aggregated and the scores"),
    # scores and shapes
    "a better score": (put("runs", 0, "scores", "official", 1, 0, 0, 1.0), "the answers give 0.75"),
    "a better average": (put("summary", "official", "self_last", "mean", 0.99), "is 0.99 in the results"),
    "a smaller error": (put("summary", "official", "self_last", "stderr", 0.0), "self_last.stderr is 0.0"),
    "fewer answers that are unread": (put("runs", 0, "unparsed", 0.0), "unparsed of seed 0"),
    "a seed that is a truth value": (put("runs", 1, "seed", True), "seeds.1: Input should be a valid integer"),
    "a score that is text": (put("seconds", "600"), "is not valid at seconds"),
    "an unfinished run": (put("status", "running"), "is running, not complete"),
    "a task begun early": (lambda r: r["runs"][0]["begun"][0].append("Words-0"), "was not asked about Words-0"),
    "a task begun late": (lambda r: r["runs"][0]["begun"][1].remove("Words-0"), "has not begun by the last point"),
    "tasks in another order": (
        lambda r: put("runs", 0, "tasks", r["runs"][0]["tasks"][::-1])(r),
        "in the results; the answers give",
    ),
    "a client's other tasks": (put("clients", 0, "tasks", ["Colour-0"]), "other tasks than those of the dataset"),
    # texts
    "a control character": (put("method", "reference", "a\x1b[2Jb"), "U+001B"),
    "a text that runs backwards": (put("data", "name", "\u202eekarD"), "U+202E"),
    "a heading in a name": (put("environment", "machine", "cpu", "a\n# Heading"), "U+000A"),
    "a text of 200 kB": (put("method", "reference", "x" * 200_000), "200,000 characters"),
    "half of a surrogate": (put("method", "reference", "\ud800"), "surrogate pair"),
    "a method of look-alike letters": (both("method", "method", "name", "fed\u043cosaic"), "unknown method"),
    "a method without a name": (both("method", "method", "name", ""), "unknown method"),
    "a method of two dots": (both("method", "method", "name", "..evil:X"), "..evil:X"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIG)
def test_what_does_not_follow_is_refused(honest: Path, name: str) -> None:
    change, sentence = CONFIG[name]
    found = refusals(honest, change)
    assert any(sentence in refusal for refusal in found), found


def test_results_that_name_a_dataset_open_and_build_nothing(honest: Path) -> None:
    falsify(honest, put("data", "path", "/etc"))
    found = validation.validate(honest)
    assert (found.refused, found.checked) == ([], False)
    assert any("not scored again" in sentence and "--data" in sentence for sentence in found.said)
    results = load(honest)
    for data in ({"train": 20_000_000, "test": 100, "public_per_world": 40}, {"train": -1, "test": 1}, None):
        asked = results.model_copy(
            update={"data": results.data.model_copy(update={"path": None}), "config": results.config | {"data": data}}
        )
        with pytest.raises(DrakeError, match="--data"):
            dataset_of(asked)
    seeded = results.model_copy(update={"data": results.data.model_copy(update={"path": None, "seed": 5})})
    with pytest.raises(NoDataset, match="seed 5"):
        dataset_of(seeded)

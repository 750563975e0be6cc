"""Forged submissions: each is refused with a sentence or pointed out, whatever was signed again afterwards.

The honest submission is the fabricated run of two seeds (`fabricated_runs`), whose files a forger changes; then the
ticket is made anew, with the right hashes, so that only what does not follow can give the forgery away. Costs, which
need backbones of the catalog, are forged in a bundled submission.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from drake_leaderboard import costs, ranking, reviewed, settings, submission, tickets, validation
from drake_leaderboard.answers import Answers
from drake_leaderboard.claims import Claims
from drake_leaderboard.commands import leaderboard, validate

from drake.data.benchmark import Benchmark
from drake.errors import DrakeError
from drake.results import Results, load, run_folders
from drake.results.dataset import NoDataset, dataset_of
from drake.scoring.predictions import Prediction, prediction_path, read_predictions, write_predictions

Fabricate = Callable[..., Path]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the honest submission is kept, which is made once."""
    return tmp_path_factory.mktemp("made") / "honest"


@pytest.fixture
def honest(fabricate: Fabricate, made: Path, tmp_path: Path) -> Path:
    """A copy of the honest submission, to be forged."""
    if not made.exists():
        said = tickets.about("Fine-tuning", ["A. Author", "B. Author"], "https://example.org/paper", "owner/name")
        submission.submit(fabricate(seeds=(0, 1)), made, said=said)
    return Path(shutil.copytree(made, tmp_path / "submissions" / "honest"))


def sign(folder: Path, **changes: Any) -> None:
    """Make the ticket of changed files, as a forger does."""
    ticket = json.loads((folder / "submission.json").read_text())
    results = json.loads((folder / "results.json").read_text())
    ticket |= {"method": results["method"]["name"], "reference": results["method"]["reference"]}
    ticket |= {"preset": results["preset"], "seeds": [run["seed"] for run in results["runs"]]}
    ticket |= {"finished": results["finished"], "split": results["data"]["split"]}
    ticket["sha256"] = {name: tickets.sha256(folder / name) for name in ticket["sha256"] if (folder / name).exists()}
    (folder / "submission.json").write_text(json.dumps(ticket | changes))


def falsify(folder: Path, change: Callable[[Json], Any]) -> None:
    path = folder / "results.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    sign(folder)


def put(*path: Any) -> Callable[[Json], None]:
    """Set the value at a path of keys, the last argument, in results.json."""
    *keys, last, value = path

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


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
    "another method": (lambda r: (put("method", "name", "fedit")(r), put("config", "method", "fedit")(r)), "reference"),
    "an option that the method lacks": (
        lambda r: (put("method", "options", {"x": 1})(r), put("config", "options", {"x": 1})(r)),
        "unknown option 'x'",
    ),
    "options only in one place": (put("method", "options", {"x": 1}), "config.options is"),
    "another citation": (put("method", "reference", "Mine, 2026"), "method.reference is 'Mine, 2026'"),
    "cheap steps": (put("method", "relative_cost", 0.5), "method.relative_cost is 0.5"),
    "no cost": (put("method", "relative_cost", 0.0), "no cost"),
    "other steps": (put("method", "local_steps", 4.0), "method.local_steps is 4.0"),
    "another batch": (put("method", "batch", 64), "method.batch is 64"),
    "another preset": (put("config", "preset", "paper"), "config.preset is 'paper'"),
    "a preset that is none": (
        lambda r: (put("preset", "huge")(r), put("config", "preset", "huge")(r)),
        "unknown preset 'huge'",
    ),
    "the numbers of another preset": (
        lambda r: (put("preset", "paper")(r), put("config", "preset", "paper")(r)),
        "eval_tokens is 2048, but the preset's is 65536",
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
        lambda r: [put(at, "revisions", {"model": "1", "ghost": "2"})(r) for at in ("config", "models")],
        "disagree about 'ghost'",
    ),
    "another split": (put("config", "split", "static"), "config.split is 'static'"),
    "a split that is none": (
        lambda r: (put("data", "split", "easy")(r), put("config", "split", "easy")(r)),
        "which is no split",
    ),
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
    "a method of look-alike letters": (
        lambda r: (put("method", "name", "fed\u043cosaic")(r), put("config", "method", "fed\u043cosaic")(r)),
        "unknown method",
    ),
    "a method without a name": (
        lambda r: (put("method", "name", "")(r), put("config", "method", "")(r)),
        "unknown method",
    ),
    "a method of two dots": (
        lambda r: (put("method", "name", "..evil:X")(r), put("config", "method", "..evil:X")(r)),
        "..evil:X",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIG)
def test_what_does_not_follow_is_refused(honest: Path, name: str) -> None:
    change, sentence = CONFIG[name]
    falsify(honest, change)
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused
    assert not any("cannot be checked" in refusal for refusal in found.refused)


def first(**changes: Any) -> Callable[[list[Prediction]], list[Prediction]]:
    return lambda rows: [rows[0]._replace(**changes), *rows[1:]]


def change_rows(
    folder: Path, point: int, change: Callable[[list[Prediction]], Any], seeds: tuple[int, ...] = (0,)
) -> None:
    for seed in seeds:
        path = prediction_path(folder, seed, point)
        write_predictions(path, change(read_predictions(path)))
    sign(folder)


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


TICKET: dict[str, tuple[Json, str]] = {
    "another method": ({"method": "fedmosaic"}, "says method 'fedmosaic'"),
    "more answers": ({"answers": 99}, "says answers 99"),
    "a truth value for a seed": ({"seeds": [0, True]}, "cannot be read"),
    "a key of one's own": ({"rerun": True}, "cannot be read"),
    "answers as text": ({"answers": "1"}, "cannot be read"),
    "a hash that is none": ({"sha256": {"results.json": "0"}}, "cannot be read"),
    "a file outside": ({"sha256": {"../results.json": "0" * 64}}, "lacks"),
    "another preset": ({"preset": "paper"}, "says preset 'paper'"),
    "a backbone of nobody": ({"tokens_unchecked": ["ghost"]}, "names 'ghost' in tokens_unchecked"),
    "a script as link": ({"link": "javascript:alert(1)"}, "no plain https address"),
    "a link without encryption": ({"link": "http://example.org"}, "no plain https address"),
    "a link with a password": ({"link": "https://user:secret@example.org/"}, "no plain https address"),
    "a link that ends a quotation": ({"link": 'https://example.org/"onclick="x'}, "no plain https address"),
    "a link to a number": ({"link": "https://127.0.0.1/"}, "no plain https address"),
    "a look-alike name": ({"name": "fed\u043cosaic"}, "mixes alphabets"),
    "a name that is hidden": ({"name": "a\u200bb"}, "U+200B"),
    "a long name": ({"name": "x" * 81}, "81 characters"),
    "an author of two lines": ({"authors": ["a\nb"]}, "U+000A"),
    "an empty author": ({"authors": [""]}, "is empty"),
    "a thousand authors": ({"authors": ["a"] * 1000}, "has 1000 authors"),
    "a repository elsewhere": ({"repo_id": "../../etc/passwd"}, "not of the form owner/name"),
}  # fmt: skip


@pytest.mark.parametrize("name", TICKET)
def test_a_ticket_that_lies_is_refused(honest: Path, name: str) -> None:
    changes, sentence = TICKET[name]
    sign(honest, **changes)
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an extra file": (lambda f: (f / "notes.txt").write_text("x"), "holds 1 files more"),
    "a hidden file": (lambda f: (f / ".hidden").write_text("x"), "holds 1 files more"),
    "a link": (lambda f: _link(f / "x", "/etc/passwd"), "symbolic link"),
    "a linked folder": (lambda f: _link(f / "aggregated", "/"), "symbolic link"),
    "results behind a link": (lambda f: _link(f / "results.json", "/dev/zero"), "symbolic link"),
    "a ticket behind a link": (lambda f: _link(f / "submission.json", "/dev/zero"), "symbolic link"),
    "results that are a pipe": (lambda f: _pipe(f / "results.json"), "no regular file"),
    "a ticket that is a pipe": (lambda f: _pipe(f / "submission.json"), "is no file"),
    "a pipe beside": (lambda f: _pipe(f / "x"), "no regular file"),
    "results of gigabytes": (lambda f: _sparse(f / "results.json"), "larger than 256 MiB"),
    "a ticket of gigabytes": (lambda f: _sparse(f / "submission.json"), "larger than 4 MiB"),
    "a ticket 100,000 deep": (lambda f: (f / "submission.json").write_text("[" * 100_000), "100000 deep"),
    "a ticket that is a list": (lambda f: (f / "submission.json").write_text("[]"), "JSON list"),
    "a key twice in the ticket": (lambda f: (f / "submission.json").write_text('{"a": 1, "a": 1}'), "stands twice"),
    "no ticket": (lambda f: (f / "submission.json").unlink(), "holds no submission.json"),
    "no results": (lambda f: (f / "results.json").unlink(), "lacks 1 files"),
    "no answers": (lambda f: shutil.rmtree(f / "predictions"), "lacks 6 files"),
    "a name that is not printable": (lambda f: (f / "a\x1b").write_text(""), "not printable"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_belong_are_refused_at_once(honest: Path, name: str) -> None:
    change, sentence = FILES[name]
    change(honest)
    started = time.perf_counter()
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused
    assert time.perf_counter() - started < 5


JSON_TEXTS = {
    "NaN": (('"seconds": 600.0', '"seconds": NaN'), "NaN is no JSON"),
    "a number that is infinite": (('"seconds": 600.0', '"seconds": 1e999'), "too large"),
    "a key twice": (('"seconds": 600.0', '"seconds": 600.0, "seconds": 1.0'), "stands twice"),
    "a number of 5,000 digits": (('"seconds": 600.0', f'"seconds": {"9" * 5000}'), "5000 digits"),
    "a byte order mark": (('{"schema_version"', '\ufeff{"schema_version"'), "byte order mark"),
}


@pytest.mark.parametrize("name", JSON_TEXTS)
def test_json_that_readers_take_differently_is_refused(honest: Path, name: str) -> None:
    (old, new), sentence = JSON_TEXTS[name]
    path = honest / "results.json"
    text = json.dumps(json.loads(path.read_text()))
    assert old in text
    path.write_text(text)
    sign(honest)
    signed = json.loads((honest / "submission.json").read_text())
    path.write_text(text.replace(old, new))
    signed["sha256"]["results.json"] = tickets.sha256(path)
    (honest / "submission.json").write_text(json.dumps(signed))
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused


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


# Costs, in a bundled submission whose backbones are in the catalog.


@pytest.fixture(scope="module")
def ditto() -> tuple[Results, Benchmark]:
    folder = next(path for path in run_folders(ranking.default_paths()[:1]) if path.name == "mini-ditto")
    results = load(folder)
    return results, dataset_of(results)


def traffic(change: Callable[[list[Json]], Any]) -> Callable[[Results], Results]:
    def changed(results: Results) -> Results:
        content = results.model_dump(mode="json")
        change(content["runs"][0]["traffic"])
        return Results.model_validate(content)

    return changed


COSTS: dict[str, tuple[Callable[[Results], Results], str]] = {
    "nothing sent": (traffic(lambda rows: rows.clear()), "nothing, but the method sends"),
    "no bytes": (traffic(lambda rows: [row.update(bytes=0) for row in rows]), "0 B of A"),
    "half of the bytes": (traffic(lambda rows: [r.update(bytes=r["bytes"] // 2) for r in rows]), "but the method"),
    "one message less": (traffic(lambda rows: rows.pop()), "but the method sends"),
    "one message twice": (traffic(lambda rows: rows.append(rows[0])), "but the method sends"),
    "another kind": (traffic(lambda rows: rows[0].update(kind="magic")), "but the method sends"),
    "a kind besides": (traffic(lambda rows: rows.append(rows[0] | {"kind": "magic"})), "does not send"),
    "a round too many": (traffic(lambda rows: rows.append(rows[0] | {"round": 99})), "does not exist"),
    "a client too many": (traffic(lambda rows: rows.append(rows[0] | {"client": 99})), "does not exist"),
    "sent before the first round": (traffic(lambda rows: rows.append(rows[0] | {"round": 0})), "does not send"),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTS)
def test_costs_follow_from_method_and_architectures(ditto: tuple[Results, Benchmark], name: str) -> None:
    results, benchmark = ditto
    change, sentence = COSTS[name]
    assert list(costs.contradictions(Claims(results, benchmark))) == []
    (found,) = costs.contradictions(Claims(change(results), benchmark))
    assert sentence in found


def test_what_embedded_backbones_and_assignments_are_is_known(ditto: tuple[Results, Benchmark]) -> None:
    results, benchmark = ditto
    content = results.model_dump(mode="json")
    for place in (content["models"], content["config"]):
        place["revisions"] = place["revisions"] | {"tiny-llama-s": "0" * 64}
    order = content["models"]["per_client"][::-1]
    content["models"]["per_client"] = content["config"]["assignment"] = order
    content["models"]["assignment"] = "even:mine"
    for client, model in zip(content["clients"], order, strict=True):
        client["model"] = model
    found = list(settings.contradictions(Claims(Results.model_validate(content), benchmark)))
    assert any("another revision of tiny-llama-s" in sentence for sentence in found)
    assert any("models.per_client is" in sentence for sentence in found)
    assert any("models.assignment is 'even:mine'" in sentence for sentence in found)


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


# The board and the command.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_board_leaves_out_what_fails_and_goes_on(honest: Path, fabricate: Fabricate, cache: Path) -> None:
    forged, broken, run = (honest.with_name(name) for name in ("forged", "broken", "run"))
    for copied in (forged, broken):
        shutil.copytree(honest, copied)
    falsify(forged, put("runs", 0, "seconds_train", 0.0))
    (broken / "results.json").write_text("{")
    shutil.move(fabricate("mine"), run)
    for _ in range(2):  # the second time from the cache
        board = ranking.collect([honest.parent], published=False)
        (rows,) = board.tables.values()
        assert {row.origin: row.checked for row in rows} == {"honest": "re-scored", "run": "not checked"}
        assert [row.name for row in rows if row.origin == "honest"] == ["Fine-tuning"]
        assert len(board.left_out) == 2
        assert any("seconds of seed 0 are 0" in line for line in board.left_out)
        assert any("broken" in line for line in board.left_out)
    assert len(list(cache.glob("verdicts/*.json"))) == 2


def test_only_the_list_of_the_repository_makes_a_row_rerun(
    honest: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = reviewed.ticket_digest(honest)
    entry = {"name": "honest", "sha256": digest, "how": "rerun", "drake": "0.2.0", "date": "2026-01-01"}
    monkeypatch.setattr(reviewed, "reviews", lambda: {digest: reviewed.Review.model_validate(entry)})
    (rows,) = ranking.collect([honest], published=False).tables.values()
    assert rows[0].checked == "rerun"
    sign(honest, name="Changed afterwards")
    (rows,) = ranking.collect([honest], published=False).tables.values()
    assert rows[0].checked == "re-scored"


def test_validate_prints_a_sentence_for_each_finding(honest: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(honest.parent, before)
    shutil.copytree(honest, honest.with_name("forged"))
    falsify(honest.with_name("forged"), put("method", "batch", 64))
    (honest.parent / "stray").mkdir()

    def run(*arguments: object) -> tuple[int, list[str]]:
        found = CliRunner().invoke(validate, list(map(str, arguments)), catch_exceptions=False)
        return found.exit_code, found.output.splitlines()

    code, lines = run(honest)
    assert (code, lines[-1]) == (0, f"{honest}: every number follows from its answers.")
    code, lines = run(honest.parent)
    assert code == 1
    assert [line for line in lines if line.startswith("refused: ")] == [
        f"refused: {honest.with_name('forged')}: method.batch is 64, but micro_batch x accumulation is 8."
    ]
    code, lines = run(honest.parent, "--against", before)
    assert code == 1
    assert not any(line.startswith(f"{honest}: ") for line in lines)  # it did not change
    assert any(line.startswith("refused: ") and "stray holds no submission.json" in line for line in lines)
    assert run(before, "--against", before)[0] == 0


def test_the_board_command_says_what_it_left_out(honest: Path, cache: Path) -> None:
    falsify(honest, put("method", "batch", 64))
    found = CliRunner().invoke(leaderboard, [str(honest), "--no-published"], catch_exceptions=False)
    assert "method.batch is 64" in found.stderr
    assert "nothing to rank yet" in found.stdout


def test_a_complete_run_without_seeds_is_one_sentence_everywhere(honest: Path, tmp_path: Path) -> None:
    from drake.cli.main import drake

    falsify(honest, put("runs", []))
    converted = ["convert", honest, "--to", "every-eval-ever", "--model-id", "a/b", "--organization", "o"]
    for command in ([*converted, "--out", tmp_path / "eee"], ["unseen", honest], ["score", honest]):
        found = CliRunner().invoke(drake, [str(part) for part in command])
        assert isinstance(found.exception, DrakeError), found.exc_info
        assert "holds no seed" in str(found.exception)

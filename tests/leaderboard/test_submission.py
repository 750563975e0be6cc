"""A submission is believed only as far as its answers carry it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from drake_leaderboard import submission
from drake_leaderboard.commands import score
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

import drake
from drake.common import own_paths
from drake.errors import DrakeError
from drake.results import Results, aggregate, load, save, score_table, seed_summary, verify
from drake.scoring.answers import PROTOCOLS
from drake.scoring.predictions import Prediction, prediction_path, read_predictions, write_predictions
from drake.scoring.token_ids import TokenCheck

Fabricate = Callable[..., Path]


def _falsify(folder: Path, change: Callable[[Results], object]) -> None:
    results = load(folder)
    change(results)
    save(results, folder)


def _change_rows(folder: Path, change: Callable[[list[Prediction]], list[Prediction]], point: int = 2) -> None:
    path = prediction_path(folder, 0, point)
    write_predictions(path, change(read_predictions(path)))


def test_an_honest_run_becomes_a_folder_that_checks(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate(seeds=(0, 1))
    out = submission.submit(run, tmp_path / "out" / "mine")
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    points = {f"predictions/seed-{seed}/point-{point}.parquet" for seed in (0, 1) for point in (0, 1, 2)}
    assert files == {"results.json", "submission.json"} | points
    assert list(out.parent.iterdir()) == [out]
    assert (out / "results.json").read_bytes() == (run / "results.json").read_bytes()
    ticket = json.loads((out / "submission.json").read_text())
    # seeds x ((zero-shot and last point: 4 tasks) + (first point: 2)) x 2 clients x 4 records
    assert ticket["answers"] == 2 * (4 + 2 + 4) * 2 * 4
    assert ticket["tokens_unchecked"] == ["model"]
    assert submission.check(out) == load(run)


def test_an_existing_folder_is_never_overwritten(fabricate: Fabricate, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DrakeError, match="exists"):
        submission.submit(fabricate(), tmp_path / "out")


def test_a_raised_score_is_refused(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate()

    def raise_one(results: Results) -> None:
        seed = results.runs[0]
        assert seed.scores["official"][1][0][0] == 0.75
        seed.scores["official"][1][0][0] = 1.0
        for protocol in PROTOCOLS:  # with averages that agree, so that only the answers can tell
            seed.summary[protocol] = seed_summary(score_table(seed, protocol, results.clients))
        results.summary = aggregate(results.runs)

    _falsify(run, raise_one)
    with pytest.raises(DrakeError, match=r"official score of client 0 on Colour-0 \(seed 0, point 2\) is 1.0.*0.75"):
        submission.submit(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_raised_zero_shot_score_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        results.runs[0].zero_shot["strict"][1][0] = 0.5

    _falsify(run, change)
    with pytest.raises(DrakeError, match=r"strict score of client 1 on Colour-0 .*point 0"):
        verify(run)


def test_a_score_that_was_blanked_out_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        results.runs[0].scores["official"][1][0][0] = None

    _falsify(run, change)
    with pytest.raises(DrakeError, match=r"is None in the results; the answers give 0.75"):
        verify(run)


@pytest.mark.parametrize("level", ["seed", "run"])
def test_a_raised_average_is_refused(fabricate: Fabricate, level: str) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        if level == "seed":
            results.runs[0].summary["official"].self_last = 0.99
        else:
            results.summary["official"]["self_last"].mean = 0.99

    _falsify(run, change)
    with pytest.raises(DrakeError, match=r"summary\.official\.self_last.* is 0\.99"):
        verify(run)


def test_a_tampered_curve_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        results.runs[0].summary["strict"].self_curve[0] = 0.9

    _falsify(run, change)
    with pytest.raises(DrakeError, match=r"summary\.strict\.self_curve"):
        verify(run)


def test_an_answer_marked_better_than_its_text_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    _change_rows(
        run, lambda rows: [row._replace(correct=True, picked=row.gold) if row.correct is False else row for row in rows]
    )
    with pytest.raises(DrakeError, match=r"the text 'cloud' is marked .*it should be"):
        verify(run)


def test_a_text_corrected_afterwards_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def correct(rows: list[Prediction]) -> list[Prediction]:
        assert (rows[3].text, rows[3].correct) == ("cloud", False)
        better = rows[3]._replace(text="blue", picked="blue", correct=True, strict_correct=True)
        return [*rows[:3], better, *rows[4:]]

    _change_rows(run, correct)
    with pytest.raises(DrakeError, match=r"is 0.75 in the results; the answers give 1.0"):
        verify(run)


def test_another_gold_answer_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    _change_rows(run, lambda rows: [rows[0]._replace(gold="blue"), *rows[1:]])
    with pytest.raises(DrakeError, match="gold answer 'blue', the dataset has 'red'"):
        verify(run)


def test_a_missing_answer_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    _change_rows(run, lambda rows: rows[:-1])
    with pytest.raises(DrakeError, match="client 1 lacks 1 answers for Words-0, first Words-0/test/000003"):
        verify(run)


def test_a_task_left_out_altogether_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        for protocol in PROTOCOLS:
            results.runs[0].scores[protocol][1][0][3] = None

    _falsify(run, change)
    _change_rows(run, lambda rows: [row for row in rows if (row.client, row.task) != (0, "Words-0")])
    with pytest.raises(DrakeError, match="client 0 was not asked about Words-0 at point 2"):
        verify(run)


def test_an_answer_given_twice_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    _change_rows(run, lambda rows: [*rows, rows[0]])
    with pytest.raises(DrakeError, match="answered twice"):
        verify(run)


def test_an_answer_to_a_record_that_is_not_scored_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()  # the task has a fifth record; eval_records is four
    _change_rows(run, lambda rows: [*rows, rows[0]._replace(id="Colour-0/test/000004")])
    with pytest.raises(DrakeError, match="no record that task Colour-0 is scored on"):
        verify(run)


def test_missing_and_extra_prediction_files_are_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    first, extra = prediction_path(run, 0, 1), prediction_path(run, 1, 0)
    extra.parent.mkdir()
    extra.write_bytes(first.read_bytes())
    with pytest.raises(DrakeError, match=r"1 too many, the first predictions/seed-1/point-0.parquet"):
        verify(run)
    extra.unlink()
    first.unlink()
    with pytest.raises(DrakeError, match=r"1 missing, the first predictions/seed-0/point-1.parquet"):
        verify(run)


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_an_unfinished_run_is_refused(fabricate: Fabricate, status: str) -> None:
    with pytest.raises(DrakeError, match=f"is {status}, not complete"):
        verify(fabricate(status=status))


def test_other_data_are_refused(fabricate: Fabricate, benchmark: object, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fabricate()
    monkeypatch.setattr(type(benchmark), "fingerprint", "00" * 32)
    with pytest.raises(DrakeError, match=r"fingerprint f1f1.*0000"):
        verify(run)


def test_clients_with_easier_tasks_are_refused(
    fabricate: Fabricate, benchmark: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fabricate()
    monkeypatch.setattr(type(benchmark), "clients", (("Colour-0", "Shape-0"), ("Colour-1", "Words-0")))
    with pytest.raises(DrakeError, match="other tasks than those of the dataset"):
        verify(run)


def test_a_run_that_stops_before_all_tasks_have_begun_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()

    def change(results: Results) -> None:
        results.runs[0].begun[1].remove("Words-0")

    _falsify(run, change)
    with pytest.raises(DrakeError, match="Words-0 has not begun by the last point"):
        verify(run)


def test_a_file_changed_after_submission_is_found(fabricate: Fabricate, tmp_path: Path) -> None:
    out = submission.submit(fabricate(), tmp_path / "out")
    (out / "results.json").write_text((out / "results.json").read_text().replace("supervised", "unsupervised"))
    with pytest.raises(DrakeError, match=r"results.json was changed after it was submitted"):
        submission.check(out)
    (out / "notes.txt").write_text("extra")
    with pytest.raises(DrakeError, match=r"holds 1 files more than were submitted, first notes.txt"):
        submission.check(out)


def test_a_mini_suite_is_built_again_from_the_sizes_in_the_results(
    fabricate: Fabricate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    monkeypatch.setattr("drake.data.building.cached_mini", lambda **sizes: asked.append(sizes) or Path("anywhere"))
    run = fabricate(config={"eval_records": 4, "data": {"train": 40, "test": 5, "public_per_world": 3}})

    def forget_path(results: Results) -> None:
        results.data.path = None
        results.data.seed = 0

    _falsify(run, forget_path)
    verify(run)
    assert asked == [{"seed": 0, "train": 40, "test": 5, "public_per_world": 3}]


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A folder with a tokenizer of four words, "cup" 1, "tree" 2, "boat" 3."""
    model = WordLevel({"[UNK]": 0, "cup": 1, "tree": 2, "boat": 3}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path / "words")
    return str(tmp_path / "words")


def _open_ended(text: str, predicted: list[int] | None, gold: str, ids: list[int] | None) -> Prediction:
    return Prediction(1, 2, 0, "Words-0", "Words-0/test/000000", text, None, None, None, predicted, ids, gold)


def test_token_ids_are_held_against_the_tokenizer(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    unasked = TokenCheck({words: "1"})  # no run was begun with that folder here, so it is not opened
    unasked.verify(_open_ended("tree", [1], "cup", [1]), words, "here")
    assert unasked.unchecked == {words}
    own_paths.keep([words])
    check = TokenCheck({words: "1"})
    check.verify(_open_ended("tree", [2], "cup", [1]), words, "here")
    assert not check.unchecked
    with pytest.raises(DrakeError, match="the token ids stand for 'cup', the text is 'tree'"):
        check.verify(_open_ended("tree", [1], "cup", [1]), words, "here")
    with pytest.raises(DrakeError, match=r"\[2\] are not those of the gold answer 'cup'"):
        check.verify(_open_ended("tree", [2], "cup", [2]), words, "here")
    with pytest.raises(DrakeError, match="needs its token ids"):
        check.verify(_open_ended("tree", None, "cup", [1]), words, "here")


def test_without_a_tokenizer_ids_must_at_least_agree_with_each_other() -> None:
    check = TokenCheck({"nowhere": "1"})
    check.verify(_open_ended("tree", [2], "cup", [1]), "nowhere", "here")
    assert check.unchecked == {"nowhere"}
    with pytest.raises(DrakeError, match="the token ids stand for 'tree', the text is 'boat'"):
        check.verify(_open_ended("boat", [2], "cup", [1]), "nowhere", "here")
    with pytest.raises(DrakeError, match=r"\[3\] are not those of the gold answer 'cup'"):
        check.verify(_open_ended("tree", [2], "cup", [3]), "nowhere", "here")


def test_scoring_again_gives_the_scores_of_the_answers_whatever_the_results_hold(fabricate: Fabricate) -> None:
    run = fabricate()
    honest = load(run)

    def raise_one(results: Results) -> None:
        results.runs[0].scores["official"][1][0][0] = 1.0
        results.summary["official"]["self_last"].mean = 0.99

    _falsify(run, raise_one)
    _change_rows(run, lambda rows: [row._replace(correct=None if row.correct is None else False) for row in rows])
    assert drake.score(run) == honest
    assert load(run) != honest


def test_scoring_again_needs_every_answer(fabricate: Fabricate) -> None:
    run = fabricate()
    _change_rows(run, lambda rows: rows[:-1])
    with pytest.raises(DrakeError, match="client 1 lacks 1 answers for Words-0"):
        drake.score(run)


def test_the_score_command_prints_the_averages_and_refuses_others(fabricate: Fabricate, tmp_path: Path) -> None:
    out = submission.submit(fabricate(), tmp_path / "out")
    found = CliRunner().invoke(score, [str(out)], catch_exceptions=False)
    assert "every score follows from the answers." in found.output
    run = fabricate("other")
    _falsify(run, lambda results: setattr(results.summary["official"]["self_last"], "mean", 0.99))
    refused = CliRunner().invoke(score, [str(run)])
    assert isinstance(refused.exception, DrakeError)
    assert "summary.official.self_last.mean is 0.99" in str(refused.exception)

"""`drake score --write`: runs that were scored by earlier rules get the scores of the present ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from drake_leaderboard import submission
from drake_leaderboard.commands import score
from drake_leaderboard.rescoring import rescore

from drake.errors import DrakeError
from drake.predictions import prediction_path, read_predictions, write_predictions
from drake.results import load
from drake.scoring import rescore as rules
from drake.scoring.rescore import Mark

Fabricate = Callable[..., Path]


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _by_other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer to a choice question be wrong and unparsed."""

    def mark(text: str, question: rules.Question) -> Mark:
        return Mark(None, None, None) if question.open_ended else Mark(None, False, False)

    monkeypatch.setattr(rules, "mark", mark)
    monkeypatch.setattr(submission, "mark", mark)


@pytest.fixture
def outdated(fabricate: Fabricate, tmp_path: Path) -> tuple[Path, Path]:
    """(a submission scored by other rules, the same run scored by the present ones)."""
    present = fabricate("present", seeds=(0, 1))
    with pytest.MonkeyPatch.context() as patch:
        _by_other_rules(patch)
        old = submission.submit(fabricate("old", seeds=(0, 1)), tmp_path / "submitted")
    return old, present


def test_an_outdated_submission_gets_the_marks_scores_and_digests_of_the_present_rules(outdated) -> None:
    old, present = outdated
    with pytest.raises(DrakeError, match="it deserves"):
        submission.check(old)
    found = rescore(old)
    assert found.answers == 2 * (4 + 2 + 4) * 2 * 4
    choice_tasks = 2 * (3 + 2 + 3) * 2 * 4  # the same without Words-0, which is open-ended and begins late
    right = [row.picked is not None for file in present.glob("predictions/*/*") for row in read_predictions(file)]
    assert 0 < found.changed == sum(right) < choice_tasks
    assert submission.check(old) == found.after == load(present)
    assert found.before.summary["official"]["self_last"].mean < found.after.summary["official"]["self_last"].mean
    same = _contents(old)
    assert {name: same[name] for name in _contents(present)} == _contents(present)


def test_scoring_again_changes_nothing_where_the_scores_are_those_of_the_present_rules(fabricate: Fabricate) -> None:
    run = fabricate()
    before = _contents(run)
    assert rescore(run).changed == 0
    assert _contents(run) == before


def test_pictures_of_the_curves_are_drawn_again_where_there_are_some(fabricate: Fabricate) -> None:
    run = fabricate()
    (run / "curves.png").write_bytes(b"old")
    rescore(run)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_changed_after_submission_is_not_blessed(outdated) -> None:
    old, _ = outdated
    path = prediction_path(old, 0, 2)
    write_predictions(path, [row._replace(text="red") for row in read_predictions(path)])
    before = _contents(old)
    with pytest.raises(DrakeError, match="changed after it was submitted"):
        rescore(old)
    assert _contents(old) == before


def test_a_run_that_lacks_an_answer_is_refused_by_its_own_name_and_left_as_it_was(fabricate: Fabricate) -> None:
    run = fabricate()
    path = prediction_path(run, 0, 1)
    write_predictions(path, read_predictions(path)[1:])
    before = _contents(run)
    with pytest.raises(DrakeError, match="lacks 1 answers"):
        rescore(run)
    assert _contents(run) == before


def test_an_answer_to_no_record_is_refused(fabricate: Fabricate) -> None:
    run = fabricate()
    path = prediction_path(run, 0, 1)
    rows = read_predictions(path)
    write_predictions(path, [rows[0]._replace(id="Colour-0/test/999999"), *rows[1:]])
    with pytest.raises(DrakeError, match="is no record that this run is scored on"):
        rescore(run)


def test_the_command_says_what_changed(outdated) -> None:
    old, present = outdated
    assert CliRunner().invoke(score, [str(old)]).exit_code != 0
    done = CliRunner().invoke(score, [str(old), "--write"])
    assert done.exit_code == 0
    new = load(present).summary["official"]["self_last"].mean
    assert f"-> {100 * new:.2f}" in done.output
    assert " answers are marked otherwise." in done.output
    again = CliRunner().invoke(score, [str(old), "--write"])
    assert again.output.startswith("0 of 160 answers")
    assert "->" not in again.output

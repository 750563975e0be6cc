"""From answers to scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from drake.errors import DrakeError
from drake.scoring import scores as scoring
from drake.scoring.predictions import prediction_path, write_predictions
from drake.scoring.scores import (
    Question,
    StoredScores,
    TaskScore,
    answer_row,
    score_matrix,
    score_rows,
    unparsed_rate,
)

CHOICE = Question("a", "<image>\nWhat?\nChoice list:[red, blue]. Your answer is:", ("red", "blue"), "red", "accuracy")
OPEN = Question("b", "<image>\nHow many? Answer with a single word or a number.", (), "three", "token-F1")


def test_one_function_scores_choices_and_open_questions() -> None:
    questions = {"1": CHOICE, "2": CHOICE._replace(answer="blue"), "3": CHOICE, "4": OPEN, "5": OPEN}
    rows = [
        answer_row(1, 5, 0, "1", "It is red", CHOICE),  # the official matcher finds it, the strict one does not
        answer_row(1, 5, 0, "2", "blue", questions["2"]),
        answer_row(1, 5, 0, "3", "mauve", CHOICE),
        answer_row(1, 5, 1, "4", "the three", OPEN, [7, 8], [8]),
        answer_row(1, 5, 1, "5", "four", OPEN, [9], [8]),
    ]
    assert [row.picked for row in rows] == ["red", "blue", None, None, None]
    assert [row.correct for row in rows] == [True, True, False, None, None]
    scores = score_rows(reversed(rows), questions)
    assert scores[0, "a"] == TaskScore(official=2 / 3, strict=1 / 3, unparsed=1 / 3, answers=3)
    # counters start at generated 1, matched 1, gold 0: precision 2/4, recall 2/2
    assert scores[1, "b"] == TaskScore(official=pytest.approx(2 / 3), strict=0.5, unparsed=None, answers=2)
    assert unparsed_rate(scores.values()) == 1 / 3
    assert unparsed_rate([scores[1, "b"]]) == 0.0
    assert score_matrix(scores, 2, ["a", "b"], "strict") == [[1 / 3, None], [None, 0.5]]


def test_scores_ignore_what_a_row_claims() -> None:
    row = answer_row(1, 5, 0, "1", "blue", CHOICE)._replace(picked="red", correct=True, gold="blue")
    assert score_rows([row], {"1": CHOICE})[0, "a"].official == 0.0


def test_answers_that_belong_to_no_question_are_refused() -> None:
    row = answer_row(1, 5, 0, "1", "blue", CHOICE)
    with pytest.raises(DrakeError, match="belongs to no record"):
        score_rows([row], {})
    with pytest.raises(DrakeError, match="belongs to no record"):
        score_rows([row._replace(task="other")], {"1": CHOICE})
    with pytest.raises(DrakeError, match="lacks its token ids"):
        score_rows([row._replace(task="b")], {"1": OPEN})
    with pytest.raises(DrakeError, match="metric 'bleu'"):
        score_rows([row], {"1": CHOICE._replace(metric="bleu")})


def test_a_prediction_file_is_read_once_until_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = scoring.read_predictions
    monkeypatch.setattr(scoring, "read_predictions", lambda path: reads.append(path) or read(path))
    path = prediction_path(tmp_path, 3, 1)
    write_predictions(path, [answer_row(1, 5, 0, "1", "blue", CHOICE)])
    stored = StoredScores(tmp_path, 3, {"1": CHOICE})
    assert [stored.point(1)[0, "a"].official for _ in range(3)] == [0.0, 0.0, 0.0]
    assert reads == [path]
    write_predictions(path, [answer_row(1, 5, 0, "1", "red", CHOICE)])
    assert [stored.point(1)[0, "a"].official for _ in range(2)] == [1.0, 1.0]
    assert reads == [path, path]
    path.unlink()
    with pytest.raises(DrakeError, match="are missing"):
        stored.point(1)

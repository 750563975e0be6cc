"""The metrics of tasks."""

import json
from pathlib import Path

import pytest

from drake.errors import DrakeError
from drake.scoring.metrics import METRICS, MarkedAnswer, Metric, mean_of, metric_of, official_f1, token_f1
from drake.scoring.scores import Question, TaskScore, answer_row, score_rows
from drake.scoring.text_metrics import rouge_l

CASES = json.loads((Path(__file__).parents[1] / "golden" / "official_f1.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_official_f1_agrees_with_the_official_code(case):
    pairs = [(pair["predicted_ids"], pair["gold_ids"]) for pair in case["pairs"]]
    assert official_f1(pairs) == pytest.approx(case["f1"], abs=1e-6)


def test_official_f1_counts_distinct_ids_from_its_odd_start():
    # matched 1+2, generated 1+3, gold 0+2: precision 3/4, recall 3/2
    assert official_f1([([5, 5, 6, 7], [5, 6, 6])]) == pytest.approx(2 * 0.75 * 1.5 / 2.25)
    assert official_f1([]) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("The cat!", "a cat", 1.0),
        ("two red cats", "red", 0.5),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("the", "", 1.0),
        ("cat cat", "cat", 2 / 3),
        ("anthem", "them", 0.0),
        ("1.5", "15", 0.0),
        ("-5", "5", 0.0),
        (".5", "5", 0.0),
        ("10:15", "1015", 0.0),
        ("1,5", "15", 0.0),
        ("It is (1,000.5).", "1000.5", 0.5),
        ("5.", "5", 1.0),
        ("don't", "dont", 1.0),
        ("", "A", 0.0),
        ("a", "A.", 1.0),
    ],
)
def test_token_f1(answer, gold, score):
    assert token_f1(answer, gold) == pytest.approx(score)


def test_rouge_l_is_the_longest_common_subsequence():
    assert rouge_l("the cat sat on the mat", "the cat sat on the mat") == 1.0
    assert rouge_l("the cat lay", "the cat sat on the mat") == pytest.approx(2 * (2 / 3) * (2 / 6) / (2 / 3 + 2 / 6))


def test_the_mean_over_answers_is_the_same_in_every_order():
    answers = [MarkedAnswer(text, "red cup", None, None, [1], [1]) for text in ("red", "a red cup", "cup", "blue")]
    score = METRICS["token-F1"].strict
    assert score(answers) == score(answers[::-1]) == pytest.approx((2 / 3 + 1 + 2 / 3 + 0) / 4)


def test_a_further_metric_is_one_more_entry(monkeypatch):
    monkeypatch.setitem(METRICS, "overlap", Metric("overlap", True, official=mean_of(rouge_l), strict=mean_of(rouge_l)))
    question = Question("words", "<image>\nDescribe it.", (), "the cat sat", "overlap")
    row = answer_row(1, 1, 0, "1", "the cat", question, [1, 2], [1, 2, 3])
    found = score_rows([row], {"1": question})[0, "words"]
    assert found == TaskScore(official=pytest.approx(0.8), strict=pytest.approx(0.8), unparsed=None, answers=1)


def test_an_unknown_metric_is_one_sentence():
    with pytest.raises(DrakeError, match="task t has the metric 'bleu'; known are 'accuracy', 'token-F1', 'ROUGE-L', "):
        metric_of("bleu", "t")

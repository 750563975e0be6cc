"""ROUGE-L in every script, and GLUE's metrics against values computed by hand."""

import typing

import pytest

from drake.data.record import OF_CHOICES, MetricName
from drake.scoring.metrics import METRICS, MarkedAnswer
from drake.scoring.scores import Question, answer_row, score_rows
from drake.scoring.text_metrics import Words, correlation, f1_and_accuracy, matthews, number_in, rouge_l


def test_the_names_in_the_data_are_the_metrics():
    assert typing.get_args(MetricName) == tuple(METRICS)
    assert {name for name, metric in METRICS.items() if not metric.open_ended} == set(OF_CHOICES)


@pytest.mark.parametrize("text", ["今天天气很好", "नमस्ते दुनिया", "صباح الخير", "сегодня холодно", "สวัสดี", "Café 3"])
def test_equal_texts_of_every_script_score_1(text):
    assert rouge_l(text, text) == 1.0
    assert rouge_l("nothing alike", text) == 0.0


def test_scripts_without_spaces_are_compared_by_character():
    assert rouge_l("天气很好", "今天天气很好") == pytest.approx(2 * 1 * (4 / 6) / (1 + 4 / 6))


def test_a_word_keeps_its_marks_and_loses_its_punctuation():
    assert Words().tokenize("«नमस्ते», Straße_9!") == ["नमस्ते", "straße", "9"]


@pytest.mark.parametrize(
    ("answer", "gold"), [("The cat's hat", "a cat s hat"), ("1.5 red_cups", "1 5 cups red"), ("", "a")]
)
def test_in_ascii_it_is_the_rouge_l_of_the_package(answer, gold):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rougeL"], use_stemmer=False).score(gold, answer)["rougeL"].fmeasure
    assert rouge_l(answer, gold) == theirs


MARKED = [("Yes", True), ("Yes", True), ("Yes", False), ("No", True), ("No", False), ("No", True)]
"""Two hits, one missed, one false alarm, two rightly denied."""


def test_f1_and_accuracy_are_averaged():
    f1, accuracy = 2 * 2 / (3 + 3), 4 / 6
    assert f1_and_accuracy(MARKED) == pytest.approx((f1 + accuracy) / 2)
    assert f1_and_accuracy([("No", True), ("No", True)]) == 0.5  # nothing positive: F1 is 0


def test_matthews_is_the_correlation_of_the_two_classes():
    assert matthews(MARKED) == pytest.approx((2 * 2 - 1 * 1) / (3 * 3 * 3 * 3) ** 0.5)
    assert matthews([(gold, True) for gold, _ in MARKED]) == 1.0


def test_a_correlation_that_is_negative_or_not_defined_is_0():
    assert matthews([(gold, False) for gold, _ in MARKED]) == 0.0
    assert matthews([("Yes", True), ("No", False)]) == 0.0  # always the same answer
    assert correlation([5.0, 1.0], [1.0, 5.0]) == 0.0
    assert correlation([2.0, 2.0, 2.0], [1.0, 2.0, 5.0]) == 0.0


def test_pearson_and_spearman_are_averaged():
    answers, golds = [1.0, 2.0, 3.0, 10.0], [1.0, 3.0, 2.0, 4.0]
    spearman = 1 - 6 * (1 + 1) / (4 * 15)
    means, centred = (4.0, 2.5), []
    for values, mean in zip((answers, golds), means, strict=True):
        centred.append([value - mean for value in values])
    product = sum(a * b for a, b in zip(*centred, strict=True))
    pearson = product / (sum(a * a for a in centred[0]) * sum(b * b for b in centred[1])) ** 0.5
    assert correlation(answers, golds) == pytest.approx((pearson + spearman) / 2)


@pytest.mark.parametrize(
    ("text", "first", "whole"),
    [("3.5", 3.5, 3.5), ("About 4, not 5.", 4.0, 0.0), ("2.", 2.0, 2.0), ("none", 0.0, 0.0), ("-1", -1.0, -1.0)],
)
def test_the_number_of_an_answer(text, first, whole):
    assert (number_in(text), number_in(text, whole=True)) == (first, whole)


def test_both_protocols_read_an_answer_in_their_own_way():
    answers = [
        MarkedAnswer(text, gold, None, None, [1], [1]) for text, gold in [("1", "1.0"), ("so 3", "3.0"), ("5", "5.0")]
    ]
    metric = METRICS["Pearson+Spearman"]
    assert metric.official(answers) == pytest.approx(1.0)
    assert 0 < metric.strict(answers) < 1


def test_choice_metrics_score_stored_answers():
    prompt = "Sentence: a b.\nIs the sentence acceptable?\nChoice list:[Yes, No]. Your answer is:"
    golds = {"a": "Yes", "b": "No", "c": "No"}
    questions = {id: Question("CoLA-0", prompt, ("Yes", "No"), gold, "Matthews") for id, gold in golds.items()}
    said = {"a": "Yes", "b": "Well, no", "c": "Yes"}
    rows = [answer_row(1, 1, 0, id, said[id], questions[id]) for id in golds]
    found = score_rows(rows, questions)[0, "CoLA-0"]
    assert found.official == pytest.approx((1 * 1 - 1 * 0) / (2 * 1 * 2 * 1) ** 0.5)
    assert found.strict == 0.0  # "Well, no" is none of the choices: always wrong on No
    assert found.unparsed == 0.0

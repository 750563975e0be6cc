"""Points, signs and brackets are often part of an answer. Two answers that differ by one are not the same answer."""

import pytest

from drake.scoring.answers import match_strict, score_strict
from drake.scoring.metrics import token_f1


@pytest.mark.parametrize(
    "choices",
    [
        ("5", ".5"),
        ("5", "-5", "+5"),
        ("5", "5%", "$5"),
        ("1", "1.", "(1)", "[1]", "{1}"),
        ("1/2", "1:2", "12"),
        ("C", "C#", "C++"),
        ("NET", ".NET"),
        (".", "..", "..."),
        ("?", "!", "-", "--"),
        ("()", "[]", "<>"),
        ("'", '"', "''"),
        ("。", "！", "…"),
    ],
)
def test_by_protocol_strict_each_choice_is_itself_and_no_other(choices):
    for gold in choices:
        for answer in choices:
            assert score_strict(choices, gold, answer) == (answer, answer == gold)


@pytest.mark.parametrize(
    ("choices", "answer", "picked"),
    [
        (["yes", "no"], "Yes.", "yes"),
        (["yes.", "no."], "yes", "yes."),
        (["a.m.", "p.m."], "p.m", "p.m."),
        (["是", "否"], "是。", "是"),
        (["是。", "否。"], "否", "否。"),
        (["हाँ", "नहीं"], "नहीं।", "नहीं"),
        (["はい", "いいえ"], "はい｡", "はい"),
        (["5", "6"], "(5)", None),
        (["5", "6"], "-5", None),
        (["5", "6"], "5!", None),
    ],
)
def test_only_final_points_are_ignored_and_in_every_script(choices, answer, picked):
    assert match_strict(answer, choices) == picked


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        ("10:15", "1015"),
        ("-0.5", "0.5"),
        ("1.5.2", "152"),
        ("3/4", "34"),
        ("2020-01-02", "20200102"),
        ("10^2", "102"),
        ("-$5", "$5"),
        ("$-5", "$5"),
        ("-.5", ".5"),
        ("\u22125", "5"),
        ("1e5", "15"),
        ("10²", "102"),
    ],
)
def test_token_f1_of_numbers_that_differ_is_0(answer, gold):
    assert token_f1(answer, gold) == token_f1(gold, answer) == 0.0


@pytest.mark.parametrize("answer", ["", " ", "...", "the", "an", "B"])
def test_token_f1_of_an_article_that_is_the_gold_answer_is_0_for_any_other(answer):
    assert token_f1(answer, "A") == 0.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("(5)", "5"),
        ("5.", "5"),
        ("1,000", "1000"),
        ("$5", "5"),
        ("It is -5.", "it is -5"),
        ("A", "a."),
        ("'10:15'", "10:15"),
    ],
)
def test_token_f1_of_the_same_number_otherwise_dressed_is_1(answer, gold):
    assert token_f1(answer, gold) == token_f1(gold, answer) == 1.0

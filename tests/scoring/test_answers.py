"""What an answer picks under both protocols."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drake.scoring.answers import match_choice, match_strict, parse_choices, score_official, score_strict

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "answer_matching.json"
CASES = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else []


@pytest.mark.shared
@pytest.mark.skipif(not CASES, reason=f"{GOLDEN} is absent: answers scored by the official code")
@pytest.mark.parametrize("case", CASES, ids=[str(at) for at in range(len(CASES))])
def test_official_agrees_with_the_official_code(case):
    choices = parse_choices(case["prompt"], case["gold"])
    assert choices == parse_choices(case["prompt"]) == case["choices"]
    assert match_choice(case["answer"], choices) == case["picked"]
    assert score_official(case["prompt"], case["gold"], case["answer"]) == (case["picked"], case["correct"])


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("<image> Which?\nChoice list:[A: hi| B: bye| C: so| D: no]. Answer with the letter.", list("ABCD")),
        ("<image> Question?\nChoice list:[['red', 'blue']].\n Your answer is:", ["red", "blue"]),
        ("<image><image>\nChoice list:[Image 1,Image 2]. Your answer is: ", ["Image 1", "Image 2"]),
        ("Choice list:[x, y]\nExample. Choice list:[True, False]. Your answer is:", ["True", "False"]),
        ("Image A: <image>, Image B: <image>\nChoice list:[Image A, Image B]. Which?", ["Image A", "Image B"]),
        ("Think [first, second].\nA. one\nB. two", ["A", "B"]),
        ("A. one\nC. two", []),
        ("Image A: <image> How many?", []),
        ("", []),
    ],
)
def test_choices_are_read_from_every_prompt_shape(prompt, choices):
    assert parse_choices(prompt) == choices


def test_quote_marks_stay_where_the_gold_answer_has_them():
    prompt = "Choice list: ['left', 'right']"
    assert parse_choices(prompt, gold="left") == ["left", "right"]
    assert parse_choices(prompt, gold="'left'") == ["'left'", "'right'"]
    assert score_official(prompt, "'left'", "'left'") == ("'left'", True)


def test_a_choice_in_the_answer_goes_before_an_answer_in_a_choice():
    assert match_choice("red", ["dark red", "red"]) == "red"
    assert match_choice("The answer is C", ["A", "B", "C"]) == "C"


def test_weaknesses_of_the_official_matcher_are_kept():
    assert match_choice("Nothing of the kind", ["Yes", "No"]) == "No"
    assert match_choice("It is not ripe but sliced", ["ripe", "sliced"]) == "ripe"
    assert parse_choices("Choice list:[a red, round ball, a cube]") == ["a red", "round ball", "a cube"]


texts = st.text(max_size=30)


@given(answer=texts, choices=st.lists(texts, max_size=6))
def test_what_is_picked_is_always_one_of_the_choices(answer, choices):
    for picked in (match_choice(answer, choices), match_strict(answer, choices)):
        assert picked is None or picked in choices


@given(
    choices=st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=1, max_size=6, unique=True),
    at=st.integers(0, 5),
)
def test_strict_picks_a_choice_said_word_for_word_and_official_does_unless_an_earlier_one_is_part_of_it(choices, at):
    said = choices[at % len(choices)]
    assert match_strict(f" {said.upper()}. ", choices) == said
    assert match_choice(said, choices) == next(choice for choice in choices if choice in said)


@given(prompt=st.text(alphabet="[]|,:ABC12 \nchoicelst'\"Image", max_size=80))
def test_parsing_survives_any_prompt(prompt):
    assert all(isinstance(choice, str) for choice in parse_choices(prompt))


@pytest.mark.parametrize("answer", ["", "   ", ".", "I cannot tell"])
def test_an_answer_that_says_nothing_picks_nothing(answer):
    assert match_choice(answer, ["ripe", "sliced"]) is None
    assert match_strict(answer, ["ripe", "sliced"]) is None


@pytest.mark.parametrize(
    ("answer", "choices", "prompt", "picked"),
    [
        ("true", ["True", "False"], "", "True"),
        ("It is true", ["True", "False"], "", None),
        ("A", ["True", "False"], "", None),
        ("Nothing", ["Yes", "No"], "", None),
        ("b", ["Image A", "Image B"], "", "Image B"),
        ("2", ["Image 1", "Image 2"], "", "Image 2"),
        ("(B)", ["a cat", "a dog"], "What?\nA. a cat\nB. a dog", "a dog"),
        ("'a dog'.", ["a cat", "a dog"], "What?\nA. a cat\nB. a dog", "a dog"),
        ("B", ["hello", "bye"], "Choice list:[A: hello | B: bye]", "bye"),
        ("C", ["a cat", "a dog"], "What?\nA. a cat\nB. a dog", None),
        ("B", ["a cat", "a dog"], "What?\nA. a cat\nB. a dog\nC. a bird", None),
        ("B", ["A", "B"], "What?\nA. a cat\nB. a dog", "B"),
        ("a red, round ball", ["a red, round ball", "a cube"], "", "a red, round ball"),
    ],
)
def test_strict_asks_for_equality_or_the_letter(answer, choices, prompt, picked):
    assert match_strict(answer, choices, prompt) == picked


def test_strict_scores_against_the_gold_answer():
    assert score_strict(["ripe", "unripe"], "unripe", "Unripe.") == ("unripe", True)
    assert score_strict(["ripe", "unripe"], "unripe", "ripe") == ("ripe", False)
    assert score_strict(["ripe", "unripe"], "unripe", "it is unripe") == (None, False)

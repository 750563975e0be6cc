"""What an answer picks under both protocols."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drake.scoring.answers import match_choice, match_strict, parse_choices, score_official, score_strict
from drake.scoring.listed import listed_choices, option_letters

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = [
    pytest.param(case, id=f"{name}-{number}")
    for name in ("answer_matching", "answer_matching_more")
    for number, case in enumerate(json.loads((GOLDEN / f"{name}.json").read_text()))
]


def test_all_golden_answers_are_there():
    assert len(CASES) == 77 + 551


@pytest.mark.parametrize("case", CASES)
def test_official_agrees_with_the_official_code(case):
    choices = parse_choices(case["prompt"], case["gold"])
    assert choices == parse_choices(case["prompt"]) == case["choices"]
    assert match_choice(case["answer"], choices) == case["picked"]
    assert score_official(case["prompt"], case["gold"], case["answer"]) == (case["picked"], case["correct"])


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("<image> Which?\nChoice list:[A: hi| B: bye| C: so| D: no]. Answer with the letter.", list("ABCD")),
        ("Choice list:[hi | bye]", ["hi | bye"]),
        ("<image> Question?\nChoice list:['red', 'blue'].\n Your answer is:", ["red", "blue"]),
        ("<image><image>\nChoice list:[Image 1,Image 2]. Your answer is: ", ["Image 1", "Image 2"]),
        ("Choice list:[Image A is darker, Image A is lighter]", ["Image A", "Image A"]),
        ("Choice list: [Image 1 is darker, Image 1 is lighter]", ["Image 1", "Image 1"]),
        ("Choice List: [Image A is darker, Image B is darker]", ["Image A", "Image B"]),
        ("Choice List: [Image A, Image E]", ["Image A", "Image E"]),
        ("Choice list:[x, y]\nExample. Choice list:[True, False]. Your answer is:", ["x", "y"]),
        ("Choice List: [x, y]\nChoice list:[True, False]", ["True", "False"]),
        ("Choice list:[x,\ny]\nChoice list:[True, False]", ["True", "False"]),
        ("Image A: <image>, Image B: <image>\nChoice list:[Image A, Image B]. Which?", ["Image A", "Image B"]),
        ("Think [first, second].\nA. one\nB. two", ["A", "B"]),
        ("How good?\n [good, fair]\nA. one\nB. two", ["good", "fair"]),
        ("How good?\n [good, fair]", []),
        ("A. one\nC. two\nE. three", ["A", "C"]),
        ("Which is rich in vitamin C. Why?", ["C"]),
        ("Image A: <image>, Image B: <image> and again Image A: <image>", ["Image A", "Image B", "Image A"]),
        ("Image A: <image> Print only the answer with a single answer id (1,2).", ["Image A"]),
        ("Choice list:[]", [""]),
        ("", []),
    ],
)
def test_official_reads_the_first_form_of_choices_that_a_prompt_holds(prompt, choices):
    assert parse_choices(prompt) == choices


def test_apostrophes_stay_where_the_gold_answer_has_one():
    prompt = "Choice list: ['left', 'right']"
    assert parse_choices(prompt, gold="left") == ["left", "right"]
    assert parse_choices(prompt, gold="'left'") == ["'left'", "'right'"]
    assert score_official(prompt, "'left'", "'left'") == ("'left'", True)


@pytest.mark.parametrize(
    ("answer", "choices", "picked"),
    [
        ("yes and no", ["Negative", "Positive"], "Positive"),
        ("unknown", ["Positive", "Negative"], "Negative"),
        ("positive", ["Positive", "Negative"], "Positive"),
        ("red", ["dark red", "red"], "red"),
        ("It is not ripe but sliced", ["ripe", "sliced"], "ripe"),
        ("Nothing of the kind", ["Yes", "No"], "No"),
        ("The answer is C", ["A", "B", "C"], "C"),
        ("Answer: D. piece of cake", ["A", "B", "C", "D"], "D"),
        ("E or B", ["A", "B", "C"], "B"),
        ("dog", ["A", "B", "C", "D"], "D"),
        ("B", ["D", "C"], "C"),
        ("b.", ["True", "False"], "False"),
        ("it is a bird", ["cat", "dog"], "cat"),
        ("under the table", ["on_the_table", "under_the_table"], "under_the_table"),
        ("table", ["on_the_table", "under_the_table"], "on_the_table"),
        ("4", [], None),
    ],
)
def test_official_picks_by_the_first_rule_that_finds_a_choice(answer, choices, picked):
    assert match_choice(answer, choices) == picked


def test_official_asks_for_the_whole_gold_answer_regardless_of_case():
    assert score_official("Choice list:[Ripe, raw]", "ripe", "RIPE!") == ("Ripe", True)
    assert score_official("Choice list:[a red, round ball, a cube]", "a red, round ball", "a red, round ball") == (
        "a red",
        False,
    )
    assert score_official("How many?", "4", "4") == (None, False)


@pytest.mark.parametrize(
    "prompt",
    [
        "[" + "a," * 100_000,
        "Choice list:[" * 100_000,
        "Choice list:[\n" * 100_000 + "]",
        "Choice list:" + "[" * 100_000,
        "choice list" + " " * 100_000,
        "\n [" * 100_000,
        "A.\n" * 100_000,
        "A. " + " \n" * 100_000,
        "answer id (" + "1," * 100_000,
        "Choice list:[" + "a|" * 100_000 + "]",
    ],
    ids=range(10),
)
def test_long_prompts_take_no_longer_than_reading_them(prompt):
    started = time.process_time()
    parse_choices(prompt), listed_choices(prompt), option_letters(prompt)
    assert time.process_time() - started < 2  # quadratic readers take minutes


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


@given(prompt=st.text(alphabet="[]|,:ABC12 \nchoiceLlst'\".<>Image", max_size=80))
def test_what_is_picked_of_any_prompt_is_one_of_its_choices(prompt):
    choices = parse_choices(prompt)
    assert all(choice == choice.strip() for choice in choices)
    for answer in (prompt, "A", "image b", "1", "no"):
        verdict = score_official(prompt, "1", answer)
        assert verdict.picked is None or verdict.picked in parse_choices(prompt, "1")
        assert verdict.correct == (verdict.picked == "1")


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


@pytest.mark.parametrize(
    ("choices", "gold", "answer", "verdict"),
    [
        (["5", ".5"], ".5", "5", ("5", False)),
        (["5", ".5"], ".5", ".5", (".5", True)),
        (["..", "..."], "...", "...", ("...", True)),
        (["()", "[]"], "()", "()", ("()", True)),
        (["(1)", "[1]"], "(1)", "[1]", ("[1]", False)),
        (["(1)", "2"], "(1)", "[1]", (None, False)),
        (["5'", '5"'], '5"', "5'", ("5'", False)),
        (["Yes", "Yes."], "Yes", "Yes.", ("Yes.", False)),
        (["Yes", "No"], "Yes.", "yes", ("Yes", True)),
        (["left", "right"], "left", "'Left'.", ("left", True)),
        (["a dog", "a cat"], "A", "a dog", ("a dog", False)),
    ],
)
def test_strict_ignores_final_points_only_where_nothing_equals_the_answer_as_it_stands(choices, gold, answer, verdict):
    assert score_strict(choices, gold, answer) == verdict


def test_strict_scores_against_the_gold_answer():
    assert score_strict(["ripe", "unripe"], "unripe", "Unripe.") == ("unripe", True)
    assert score_strict(["ripe", "unripe"], "unripe", "ripe") == ("ripe", False)
    assert score_strict(["ripe", "unripe"], "unripe", "it is unripe") == (None, False)

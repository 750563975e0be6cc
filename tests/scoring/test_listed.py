"""Which choices are stored in a record."""

import pytest

from drake.scoring.listed import listed_choices, option_letters


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("<image> Which?\nChoice list:[A: hi| B: bye| C: so| D: no]. Answer with the letter.", list("ABCD")),
        ("<image> Question?\nChoice list:[['red', 'blue']].\n Your answer is:", ["red", "blue"]),
        ("<image><image>\nChoice list:[Image 1,Image 2]. Your answer is: ", ["Image 1", "Image 2"]),
        ("Choice list:[x, y]\nExample. Choice list:[True, False]. Your answer is:", ["True", "False"]),
        ("Image A: <image>, Image B: <image>\nChoice list:[Image A, Image B]. Which?", ["Image A", "Image B"]),
        ("CHOICE LISTS : [x,\ny]", ["x", "y"]),
        ("Choice list:[hi | bye]", ["A", "B"]),
        ("A single answer id (1, 2,3).", ["1", "2", "3"]),
        ("Think [first, second].\nA. one\nB. two", ["A", "B"]),
        ("A. one\nB. two\nC. three\nD. four\nE. five", list("ABCDE")),
        ("In a box [0] pick [first, second], not [x].", ["first", "second"]),
        ("A. one\nC. two", []),
        ("Image A: <image> How many?", []),
        ("", []),
    ],
)
def test_choices_are_read_from_every_prompt_shape(prompt, choices):
    assert listed_choices(prompt) == choices


def test_quote_marks_stay_where_the_gold_answer_has_them():
    prompt = "Choice list: ['left', 'right']"
    assert listed_choices(prompt, gold="left") == ["left", "right"]
    assert listed_choices(prompt, gold="'left'") == ["'left'", "'right'"]


@pytest.mark.parametrize(
    ("prompt", "letters"),
    [
        ("Choice list:[B: hi | C: bye]\nA. one\nB. two", ["B", "C"]),
        ("Choice list:[hi, bye]\n(A) one\nB) two", ["A", "B"]),
        ("Choice list:[hi, bye]", []),
    ],
)
def test_letters_of_options(prompt, letters):
    assert option_letters(prompt) == letters

"""Prompts and answers of 100,000 characters of every kind that patterns and loops may take long for: each is read in a
second at most, where a quadratic reader takes minutes."""

import time
from collections.abc import Callable

import pytest

from drake.data.choices import record_choices, wins
from drake.data.oracle import gold_wins
from drake.data.record import Record
from drake.scoring.answers import match_choice, match_strict, parse_choices, score_official, score_strict
from drake.scoring.listed import listed_choices, option_letters
from drake.scoring.metrics import token_f1

LENGTH = 100_000
SECONDS = 1.0


def long(piece: str, head: str = "", tail: str = "") -> str:
    return head + (piece * (LENGTH // len(piece) + 1))[:LENGTH] + tail


LIST = "Choice list:["
TEXTS = {
    "a list that is never closed": long("a,", "["),
    "a choice list that is never closed": long("a,", LIST),
    "a choice list of a hundred thousand": long("a,", LIST, "]"),
    "brackets that open": long("["),
    "brackets that close": long("]"),
    "brackets in brackets": "[" * (LENGTH // 2) + "]" * (LENGTH // 2),
    "empty lists": long("[,]"),
    "choice lists that begin": long(LIST),
    "choice lists that begin with spaces": long("choice list :  "),
    "choice lists of spaces": long(" ", "choice list"),
    "choice lists of brackets": long("[", "Choice list:"),
    "newlines": long("\n"),
    "newlines and letters": long("\nA. "),
    "lines of lists": long("\n [a, b]\n"),
    "lists with spaces before a line's end": long(" ", " [a, b]", "x"),
    "spaces": long(" ", "a", "b"),
    "tabs": long("\t"),
    "spaces that no line ends": long(" \t", "\n", "x"),
    "options of spaces": long(" ", "A."),
    "digits": long("1"),
    "digits with commas": long("1,"),
    "thousands": long("123,"),
    "answer ids": long("answer id ("),
    "an answer id of digits": long("1, ", "answer id (", "x"),
    "an answer id of spaces": long(" ", "answer id", "("),
    "images": long("Image A:"),
    "images without a colon": long("Image A "),
    "an image of spaces": long(" ", "Image A"),
    "bars": long("|", LIST, "]"),
    "bars and letters": long("A: x | ", LIST, "]"),
    "apostrophes": long("'", LIST, "]"),
    "quoted choices": long("'a', ", LIST, "]"),
    "signs": long("-."),
    "currency": long("-$."),
    "marks that combine": long("\u0301", "e"),
    "letters and marks that combine": long("e\u0301"),
    "wide commas": long("是，", LIST, "]"),
    "letters that change length": long("ß\u0130"),
    "words": long("no dog "),
    "letters": long("a"),
    "capital letters": long("A "),
    "points": long("."),
    "points between spaces": long(". ", "a"),
}


def oracle(text: str) -> object:
    record = Record(
        id="1", task="A-0", source="A", category="", images=(), prompt=text, choices=("a", "b"), answer=text[:50_000],
        metric="accuracy",
    )  # fmt: skip
    return [gold_wins(record, protocol) for protocol in ("official", "strict")]


READERS: dict[str, Callable[[str], object]] = {
    "parse_choices": parse_choices,
    "parse_choices with a gold answer": lambda text: parse_choices(text, text),
    "listed_choices": lambda text: listed_choices(text, text),
    "option_letters": option_letters,
    "record_choices": lambda text: record_choices(text, "a, a"),
    "record_choices with a long gold answer": lambda text: record_choices(text, text[13:-1]),
    "record_choices with almost the gold answer": lambda text: record_choices(text, text[13 : LENGTH // 2] + "b"),
    "wins": lambda text: wins([text, text[:-1]], text, text),
    "score_official of a long prompt": lambda text: score_official(text, "a", "b"),
    "score_official of a long answer": lambda text: score_official(f"{LIST}yes, no, A]", "yes", text),
    "match_choice of both": lambda text: match_choice(text[:-1], [text, "Image A", "A"]),
    "match_choice of many choices": lambda text: match_choice(text[:500], text.split(",")),
    "match_strict": lambda text: match_strict(text, [text[:-1], "a"], text),
    "score_strict of many choices": lambda text: score_strict(text.split(","), "a", "b", text),
    "token_f1": lambda text: token_f1(text, text[:-1]),
    "the oracle": oracle,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_takes_long_to_read(reader):
    slow = {}
    for name, text in TEXTS.items():
        started = time.thread_time()
        READERS[reader](text)
        if (taken := time.thread_time() - started) > SECONDS:
            slow[name] = round(taken, 1)
    assert slow == {}

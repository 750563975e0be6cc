"""Scoring room: what an answer says. Called by `drake.scoring.generation` and by whoever re-scores stored answers.

Two protocols, both pure functions of text. `official` takes the choices from the prompt and looks for one of them in
the answer, case by case as the released code does; `strict` takes the record's own choices and asks for equality. No
protocol guesses: None means that the answer names no choice, is wrong, and counts as unparsed.

Known weaknesses of `official`, kept because published numbers rest on them:
- a choice is found inside words ("No" in "Nothing", "ripe" in "unripe", "D" in "dog");
- of several choices that an answer holds, the first in the list wins, whatever the answer says about it;
- a list is cut at every comma, so a choice that holds a comma becomes two;
- an answer inside a longer choice counts as that choice, even where several choices hold it ("table").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Protocol = Literal["official", "strict"]
"""How an answer is read. The leaderboard ranks by `official`."""
PROTOCOLS: tuple[Protocol, ...] = ("official", "strict")

_LIST = re.compile(r"choice lists?\s*:\s*\[+([^\]]*)\]", re.IGNORECASE)
_NUMBERED = re.compile(r"answer id\s*\(([\d\s,]+)\)", re.IGNORECASE)
_LETTERED_LINE = re.compile(r"^[ \t]*\(?([A-Z])[.)][ \t]+\S", re.MULTILINE)
_LETTERED_PIECE = re.compile(r"\s*([A-Z])\s*:")
_BARE_LIST = re.compile(r"\[([^\[\]]*,[^\[\]]*)\]")
_LABELLED_IMAGE = re.compile(r"\b(Image [A-Z0-9])\s*:")
_IMAGE_NAME = re.compile(r"image (\w)", re.IGNORECASE)
_QUOTES = "'\""
_ALIASES = {"Positive": "yes", "Negative": "no"}


class Verdict(NamedTuple):
    """picked: the choice an answer names, None where it names none. correct: whether that is the gold answer."""

    picked: str | None
    correct: bool


def _letters(pieces: Sequence[str]) -> list[str]:
    """The letters of lettered choices ("A: hello"), or A, B, C... where the list gives none."""
    marks = [_LETTERED_PIECE.match(piece) for piece in pieces]
    return [mark[1] if mark else chr(ord("A") + at) for at, mark in enumerate(marks)]


def _lettered_lines(prompt: str) -> list[str]:
    """The letters of lines "A. ...", "B. ..." that count up from A; empty unless there are at least two."""
    found: list[str] = []
    for letter in _LETTERED_LINE.findall(prompt):
        if letter == chr(ord("A") + len(found)):
            found.append(letter)
    return found if len(found) > 1 else []


def parse_choices(prompt: str, gold: str | None = None) -> list[str]:
    """The choices a prompt offers, in its order; empty for an open question (protocol `official`).

    Looked for in this order: the last "Choice list:[...]" (cut at "|", then the letters are the choices, else at
    commas); an "answer id (1,2,...)"; lines that start with A., B., ...; any other [..., ...]; "Image A: ... Image
    B: ...". Quote marks around the choices go when the first choice has one, unless `gold` holds one itself.
    """
    if lists := _LIST.findall(prompt):
        choices = _cut(lists[-1])
    elif numbered := _NUMBERED.search(prompt):
        choices = _cut(numbered[1])
    elif lettered := _lettered_lines(prompt):
        return lettered
    elif bare := _BARE_LIST.findall(prompt):
        choices = _cut(bare[-1])
    else:
        labels = list(dict.fromkeys(_LABELLED_IMAGE.findall(prompt)))
        return labels if len(labels) > 1 else []
    if choices and _quoted(choices[0]) and not (gold and _quoted(gold)):
        choices = [choice.strip(_QUOTES) for choice in choices]
    return choices


def _cut(text: str) -> list[str]:
    if "|" in text:
        return _letters(text.split("|"))
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def _quoted(text: str) -> bool:
    return any(mark in text for mark in _QUOTES)


def match_choice(answer: str, choices: Iterable[str]) -> str | None:
    """The choice an answer names, None where it names none (protocol `official`).

    The first choice that stands in the answer, else the first in which the answer stands: once with upper and lower
    case told apart, then, with "_" read as a space, without. A last resort reads "yes" and "no" as Positive and
    Negative. See the head of this module for what such matching gets wrong.
    """
    choices = list(choices)
    for view in (_as_written, _folded):
        said = view(answer)
        if not said:
            return None
        shown = [view(choice) for choice in choices]
        for choice, text in zip(choices, shown, strict=True):
            if text and text in said:
                return choice
        for choice, text in zip(choices, shown, strict=True):
            if said in text:
                return choice
    if set(choices) == set(_ALIASES):
        return next((choice for choice, word in _ALIASES.items() if word in _folded(answer)), None)
    return None


def _as_written(text: str) -> str:
    return text.strip().rstrip(".").strip()


def _folded(text: str) -> str:
    return " ".join(_as_written(text).replace("_", " ").casefold().split())


def score_official(prompt: str, gold: str, answer: str) -> Verdict:
    """What an answer picks of the prompt's choices and whether that is `gold`, whole and regardless of case."""
    picked = match_choice(answer, parse_choices(prompt, gold))
    return Verdict(picked, picked is not None and picked.strip().casefold() == gold.strip().casefold())


def match_strict(answer: str, choices: Sequence[str], prompt: str = "") -> str | None:
    """The record's choice that an answer equals, None otherwise (protocol `strict`).

    Case, surrounding white space, quote marks, brackets and the final point do not matter. A letter alone stands
    for the choice it labels: in a choice such as "Image B", or where `prompt` letters as many options as there are
    choices ("A. ...", "A: ... | B: ..."). A choice spelled so goes before a choice labelled so.
    """
    said = _bare(answer)
    if not said:
        return None
    for choice in choices:
        if _bare(choice) == said:
            return choice
    labels = _labels(choices, prompt)
    return next((choice for choice, label in zip(choices, labels, strict=True) if label == said), None)


def _labels(choices: Sequence[str], prompt: str) -> list[str]:
    """What each choice is called for short, casefolded; empty strings where nothing names it."""
    named = [_IMAGE_NAME.fullmatch(choice.strip()) for choice in choices]
    if any(named):
        return [match[1].casefold() if match else "" for match in named]
    lists = [text for text in _LIST.findall(prompt) if "|" in text]
    letters = _letters(lists[-1].split("|")) if lists else _lettered_lines(prompt)
    return [letter.casefold() for letter in letters] if len(letters) == len(choices) else [""] * len(choices)


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_QUOTES + "()[]. ")


def score_strict(choices: Sequence[str], gold: str, answer: str, prompt: str = "") -> Verdict:
    """What an answer picks of the record's choices by `match_strict`, and whether that is `gold`."""
    picked = match_strict(answer, choices, prompt)
    return Verdict(picked, picked is not None and _bare(picked) == _bare(gold))

"""The choices that a prompt lists, read leniently: for the `choices` field of a record and for protocol `strict`.

`drake.build` stores in every record what `listed_choices` reads. Protocol `official` has a reader of its own
(`drake.scoring.answers.parse_choices`), which follows the released code case by case; the two differ where that code
knows fewer forms of a list. Every function takes time linear in the length of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_LIST_START = re.compile(r"choice lists?\s*:\s*\[+", re.IGNORECASE)
_NUMBERED = re.compile(r"answer id\s*\(([\d\s,]+)\)", re.IGNORECASE)
_LETTERED_LINE = re.compile(r"^[ \t]*\(?([A-Z])[.)][ \t]+\S", re.MULTILINE)
_LETTERED_PIECE = re.compile(r"\s*([A-Z])\s*:")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_LABELLED_IMAGE = re.compile(r"\b(Image [A-Z0-9])\s*:")
_QUOTES = "'\""


def listed_choices(prompt: str, gold: str | None = None) -> list[str]:
    """The choices a prompt offers, in its order; empty for an open question.

    Looked for in this order: the last "Choice list:[...]" (cut at "|", then the letters are the choices, else at
    commas); an "answer id (1,2,...)"; lines that start with A., B., ...; any other [..., ...]; "Image A: ... Image
    B: ...". Quote marks around the choices are removed when the first choice has one, unless `gold` holds one itself.
    """
    if lists := list(_choice_lists(prompt)):
        choices = _cut(lists[-1])
    elif numbered := _NUMBERED.search(prompt):
        choices = _cut(numbered[1])
    elif lettered := _lettered_lines(prompt):
        return lettered
    elif bare := [text for text in _BRACKETS.findall(prompt) if "," in text]:
        choices = _cut(bare[-1])
    else:
        labels = list(dict.fromkeys(_LABELLED_IMAGE.findall(prompt)))
        return labels if len(labels) > 1 else []
    if choices and _quoted(choices[0]) and not (gold and _quoted(gold)):
        choices = [choice.strip(_QUOTES) for choice in choices]
    return choices


def option_letters(prompt: str) -> list[str]:
    """The letters by which a prompt labels its options: those of the last choice list that is cut at "|", else those
    of lines "A. ...", "B. ..."; empty where it labels none."""
    lists = [text for text in _choice_lists(prompt) if "|" in text]
    return _letters(lists[-1].split("|")) if lists else _lettered_lines(prompt)


def _choice_lists(prompt: str) -> Iterator[str]:
    """What stands between the brackets of every "Choice list: [...]", up to the first closing bracket."""
    at = 0
    while start := _LIST_START.search(prompt, at):
        end = prompt.find("]", start.end())
        if end < 0:
            return
        yield prompt[start.end() : end]
        at = end + 1


def _cut(text: str) -> list[str]:
    if "|" in text:
        return _letters(text.split("|"))
    return [piece.strip() for piece in text.split(",") if piece.strip()]


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


def _quoted(text: str) -> bool:
    return any(mark in text for mark in _QUOTES)

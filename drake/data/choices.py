"""The choices of a record, read from its prompt, for sources that give no list of choices.

The prompt is read by the scorer's own function. Where that splits a list wrongly, the gold answer shows how to correct
it: a choice may contain a comma or brackets, and the list may have the commas of another script. If the gold answer is
among the choices already, they stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from drake.scoring.answers import score_strict
from drake.scoring.listed import listed_choices

_LIST_START = re.compile(r"choice lists?\s*:\s*\[", re.IGNORECASE)
_SEPARATORS = (",", ";", "，", "、", "；")


def record_choices(prompt: str, gold: str) -> tuple[str, ...]:
    """The choices in a prompt, in its order; `gold` is one of them if the prompt's list contains it. Empty for an
    open-ended question. Linear in the length of the prompt."""
    plain = listed_choices(prompt, gold)
    if not plain or not gold.strip() or wins(plain, gold, prompt):
        return tuple(plain)
    for text in _bracketed(prompt):
        if "|" in text:
            continue
        for separator in _SEPARATORS:
            found = _cut_around(text, gold.strip(), separator)
            if len(found) > 1 and wins(found, gold, prompt):
                return tuple(found)
    return tuple(plain)


def wins(choices: list[str] | tuple[str, ...], gold: str, prompt: str) -> bool:
    """Whether protocol `strict` marks the gold answer correct if a model gives it."""
    if gold in choices and gold.strip():  # what `score_strict` would find too, in more time
        return True
    return score_strict(choices, gold, gold, prompt).correct


def _bracketed(prompt: str) -> Iterator[str]:
    """The content of the last "Choice list: [...]", up to the bracket that closes it."""
    starts = [match.end() for match in _LIST_START.finditer(prompt)]
    if not starts:
        return
    depth = 1
    for at in range(starts[-1], len(prompt)):
        depth += {"[": 1, "]": -1}.get(prompt[at], 0)
        if depth == 0:
            yield prompt[starts[-1] : at]
            return


def _cut_around(text: str, gold: str, separator: str) -> list[str]:
    """The text split at separators, except inside the first `gold` between two of them or at an end of the text."""
    mark = re.escape(separator)
    found = re.search(rf"(?:^|{mark})\s*({re.escape(gold)})\s*(?=$|{mark})", text)
    if found is None:
        return []
    pieces = [*text[: found.start(1)].split(separator), gold, *text[found.end(1) :].split(separator)]
    return [piece.strip() for piece in pieces if piece.strip()]

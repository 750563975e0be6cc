"""The choices of a record whose source gives none but those in its prompt. Sources call this.

The reader of prompts is the scorer's. What it cuts wrongly is mended here where the gold answer shows how: a choice
that holds a comma or brackets, a list with commas of another script. Where the gold answer is already among the
choices, nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from drake.scoring.answers import score_strict
from drake.scoring.listed import listed_choices

_LIST_START = re.compile(r"choice lists?\s*:\s*\[", re.IGNORECASE)
_SEPARATORS = (",", ";", "，", "、", "；")


def record_choices(prompt: str, gold: str) -> tuple[str, ...]:
    """The choices that a prompt offers, in its order, with `gold` whole among them if it stands there; empty for an
    open question. Linear in the length of the prompt."""
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
    """Whether the gold answer, given as an answer, is right by protocol `strict`."""
    return score_strict(choices, gold, gold, prompt).correct


def _bracketed(prompt: str) -> Iterator[str]:
    """What the last "Choice list: [...]" holds, up to the bracket that closes the first one."""
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
    """The text cut at separators, except inside the first `gold` that stands between two of them or at an end."""
    mark = re.escape(separator)
    found = re.search(rf"(?:^|{mark})\s*({re.escape(gold)})\s*(?=$|{mark})", text)
    if found is None:
        return []
    pieces = [*text[: found.start(1)].split(separator), gold, *text[found.end(1) :].split(separator)]
    return [piece.strip() for piece in pieces if piece.strip()]

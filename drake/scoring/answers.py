"""The choice that an answer picks, by two protocols: `official` and `strict`. Pure functions of text.

`official` repeats the scoring of the paper's released evaluation: `parse_choices` reads the choices from the prompt,
`match_choice` looks for one of them in the generated answer. `strict` takes the choices stored in the record and asks
for equality. Neither guesses: None means that the answer names no choice, is wrong, and counts as unparsed.

`official` has known weaknesses. They are kept, because the published numbers rest on them:

- A choice is found inside other words: "no" in "nothing", "ripe" in "unripe", "1" in "13".
- Where an answer holds several choices, the first of the list is picked: "not red but blue" picks "red".
- A single letter in the answer counts as a place in the list, whatever the choices are: with the choices "True" and
  "False", "A" picks "True" and "b" picks "False". The article counts too: "it is a bird" picks the first choice
  of a list that does not hold "bird".
- Where the choices are letters, a letter inside any word counts if none stands alone: "dog" picks "D".
- For the choices "Positive" and "Negative", any answer that holds "no" is "Negative", also "cannot tell" and "know".
- A part of a choice picks the first choice that holds it, even where several do: "table", or "e".
- A list is cut at every comma, so a choice that holds a comma becomes two, and ends at the first closing bracket.
- A list of two choices that is cut at "|" stays one choice.
- Option letters end at D: of options A to E, E can never be right. An "A." to "D." anywhere in a prompt without a
  list ("vitamin C. Which fruit ...") counts as the first option letter.
- Two commas in a row make an empty choice, which every answer contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import Literal, NamedTuple

from drake.scoring.listed import option_letters

Protocol = Literal["official", "strict"]
"""How an answer is read. The leaderboard ranks by `official`."""
PROTOCOLS: tuple[Protocol, ...] = ("official", "strict")

_FIRST_OPTION = re.compile(r"([A-D])\.\s*")
_NEXT_OPTION = re.compile(r"\n([A-D])\.\s*")
_IMAGE_MARK = re.compile(r"Image [A-D](?=:)")
_LONE_LETTER = re.compile(r"\b[A-Z]\b")
_ANSWER_ID = "Print only the answer with a single answer id"
_IMAGES = ("Image A", "Image B", "Image C", "Image D")
_POLAR = {"Positive": "yes", "Negative": "no"}

_IMAGE_NAME = re.compile(r"image (\w)", re.IGNORECASE)
_QUOTES = "'\""
_POINTS = ". \u3002\uff0e\uff61\u0964"
"""What may end a sentence: points (Latin, Chinese and Japanese, full and half width; the danda of Hindi) and spaces."""


class Verdict(NamedTuple):
    """picked: the choice an answer names, None where it names none. correct: whether that is the gold answer."""

    picked: str | None
    correct: bool


# ---------------------------------------------------------------------------------------------------------------------
# Protocol official: the choices


def parse_choices(prompt: str, gold: str | None = None) -> list[str]:
    """The choices a prompt offers, in its order, by protocol `official`; empty for an open question.

    The first form that the prompt holds decides: "Choice list:[...]", "Choice lists: [...]", "Choice list: [...]",
    "Choice List: [...]", a line " [...]" of its own, option letters "A." to "D.", marks "Image A:" to "Image D:", a
    request for an answer id from 1 to 5. Apostrophes around the choices are removed where the first choice holds one
    and `gold` none. Linear in the length of the prompt.
    """
    choices = [choice.strip() for choice in _offered(prompt)]
    if choices and "'" in choices[0] and "'" not in (gold or ""):
        choices = [choice.strip("'") for choice in choices]
    return choices


def _offered(prompt: str) -> list[str]:
    for opening in ("Choice list:[", "Choice lists: [", "Choice list: ["):
        if (text := _bracketed(prompt, opening)) is not None:
            return _of_choice_list(text)
    if (text := _bracketed(prompt, "Choice List: [")) is not None:
        return _of_plain_list(text)
    if (text := _bracketed_line(prompt)) is not None:
        return _of_plain_list(text)
    if letters := _option_letters(prompt):
        return letters
    if marks := _IMAGE_MARK.findall(prompt):
        return marks
    return list("12345") if _ANSWER_ID in prompt else []


def _bracketed(prompt: str, opening: str) -> str | None:
    """The text from `opening` to the next "]" of the same line; None where no line holds both."""
    for line in prompt.split("\n"):
        _, opened, rest = line.partition(opening)
        text, closed, _ = rest.partition("]")
        if opened and closed:
            return text
    return None


def _bracketed_line(prompt: str) -> str | None:
    """The text between the outer brackets of the first line of the form " [...]" that has lines before and after it."""
    for line in prompt.split("\n")[1:-1]:
        if line.startswith(" [") and line.endswith("]"):
            return line[2:-1]
    return None


def _of_choice_list(text: str) -> list[str]:
    """A, B, C, ... for more than two pieces between "|"; otherwise the pieces between commas. Where all of these begin
    with "Image A", or all with "Image 1", that is all that remains of them."""
    if (count := text.count("|") + 1) > 2:
        return list(ascii_uppercase[:count])
    pieces = _between_commas(text)
    for label in ("Image A", "Image 1"):
        if all(piece.startswith(label) for piece in pieces):
            return [label] * len(pieces)
    return pieces


def _of_plain_list(text: str) -> list[str]:
    """The pieces between commas; where all begin with "Image ", only "Image A" to "Image D" remain of them. A piece
    that names another image stays whole (the released code stops with an error there)."""
    pieces = _between_commas(text)
    if all(piece.startswith("Image ") for piece in pieces):
        return [piece[:7] if piece.startswith(_IMAGES) else piece for piece in pieces]
    return pieces


def _between_commas(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",")]


def _option_letters(prompt: str) -> list[str]:
    """The letters of options "A. ..." to "D. ...": the first wherever it stands, the others at the start of a line.

    White space after a mark belongs to it, so an option without text also takes the line break before the next mark.
    """
    first = _FIRST_OPTION.search(prompt)
    return [first[1], *_NEXT_OPTION.findall(prompt, first.end())] if first else []


# ---------------------------------------------------------------------------------------------------------------------
# Protocol official: the match


def match_choice(answer: str, choices: Iterable[str]) -> str | None:
    """The choice an answer names, None where it names none, by protocol `official`.

    Upper and lower case and surrounding white space do not matter; an empty answer names nothing. The first rule that
    finds a choice decides: `_yes_or_no`, `_contained` (unless all choices are capital letters), `_lone_letter`,
    `_letter_anywhere` (only if all choices are capital letters), `_equal_or_part`. The head of this module lists what
    such matching gets wrong.
    """
    said, choices = answer.strip().lower(), list(choices)
    if not said:
        return None
    if all(len(choice) == 1 and choice in ascii_uppercase for choice in choices):
        rules = (_lone_letter, _letter_anywhere, _equal_or_part)
    else:
        rules = (_yes_or_no, _contained, _lone_letter, _equal_or_part)
    return next((picked for rule in rules if (picked := rule(said, choices)) is not None), None)


def _yes_or_no(said: str, choices: Sequence[str]) -> str | None:
    """Positive for an answer that holds "yes", else Negative for one that holds "no", where these are the choices."""
    if set(choices) != set(_POLAR):
        return None
    return next((choice for choice, word in _POLAR.items() if word in said), None)


def _contained(said: str, choices: Sequence[str]) -> str | None:
    """The first choice that stands anywhere in the answer."""
    return next((choice for choice in choices if choice.lower() in said), None)


def _lone_letter(said: str, choices: Sequence[str]) -> str | None:
    """The choice in the place (A first) that the first letter standing alone in the answer names; letters beyond the
    number of choices are skipped."""
    places = (ascii_uppercase.index(letter) for letter in _LONE_LETTER.findall(said.upper()))
    return next((choices[place] for place in places if place < len(choices)), None)


def _letter_anywhere(said: str, choices: Sequence[str]) -> str | None:
    """The first choice, all of them capital letters, that occurs in the answer, inside words too."""
    upper = said.upper()
    return next((choice for choice in choices if choice in upper), None)


def _equal_or_part(said: str, choices: Sequence[str]) -> str | None:
    """With "_" read as a space: a choice equal to the answer, else the first of which the answer is a part or which
    is a part of the answer."""
    said = said.replace("_", " ")
    spelled = [choice.replace("_", " ").lower() for choice in choices]
    if said in spelled:
        return choices[spelled.index(said)]
    return next(
        (choice for choice, text in zip(choices, spelled, strict=True) if said in text or text in said),
        None,
    )


def score_official(prompt: str, gold: str, answer: str) -> Verdict:
    """The choice of the prompt that an answer picks, and whether it is `gold`, regardless of case."""
    picked = match_choice(answer, parse_choices(prompt, gold))
    return Verdict(picked, picked is not None and picked.lower() == gold.lower())


# ---------------------------------------------------------------------------------------------------------------------
# Protocol strict


def match_strict(answer: str, choices: Sequence[str], prompt: str = "") -> str | None:
    """The record's choice that an answer equals, None otherwise (protocol `strict`).

    Case and white space do not matter. Final points, and quote marks around the whole, are ignored only where no choice
    equals the answer as it stands. A letter alone, also "(B)" or "B.", stands for the choice it labels: in a choice
    such as "Image B", or where `prompt` letters as many options as there are choices ("A. ...", "A: ... | B: ...").
    A choice spelled so goes before a choice labelled so.
    """
    equal = _equal(answer, choices)
    if equal is not None:
        return equal
    label = _folded(answer).strip(_QUOTES + "()[]. ")
    if not label:
        return None
    return next((choice for choice, name in zip(choices, _labels(choices, prompt), strict=True) if name == label), None)


def _equal(text: str, choices: Sequence[str]) -> str | None:
    """The first choice that equals a text: as it stands, then without final points and quote marks around either."""
    for view in (_folded, _undressed):
        if said := view(text):
            for choice in choices:
                if view(choice) == said:
                    return choice
    return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _undressed(text: str) -> str:
    """Without final points and without a pair of quote marks around the whole."""
    text = _folded(text).rstrip(_POINTS)
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip().rstrip(_POINTS)
    return text


def _labels(choices: Sequence[str], prompt: str) -> list[str]:
    """The label of each choice ("b" of "Image B" or of option B), casefolded; "" where it has none."""
    named = [_IMAGE_NAME.fullmatch(choice.strip()) for choice in choices]
    if any(named):
        return [match[1].casefold() if match else "" for match in named]
    letters = option_letters(prompt)
    return [letter.casefold() for letter in letters] if len(letters) == len(choices) else [""] * len(choices)


def score_strict(choices: Sequence[str], gold: str, answer: str, prompt: str = "") -> Verdict:
    """The choice of the record that an answer picks by `match_strict`, and whether `gold` is that choice."""
    picked = match_strict(answer, choices, prompt)
    return Verdict(picked, picked is not None and picked == _equal(gold, choices))

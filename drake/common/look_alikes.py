"""Names that look like another one that they are not."""

from __future__ import annotations

import re
import unicodedata


def mixed_alphabets(name: str) -> str | None:
    """The first letter of another alphabet in a word that has Latin letters, such as the Cyrillic one in "fedмosaic";
    None where every word is of one alphabet. Letters that stand alone, as in "FedAvg-μ", are words."""
    for word in re.findall(r"[^\W\d_]+", name):
        latin = ["LATIN" in unicodedata.name(letter, "") for letter in word]
        if any(latin) and not all(latin):
            return word[latin.index(False)]
    return None


MOST_MARKS = 3
"""Combining marks on one letter; Vietnamese has two, Hindi three."""
_LOOKS_LATIN = frozenset("АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧνορυ")
"""Cyrillic and Greek letters that look like Latin ones."""


def disguise(name: str) -> str | None:
    """What makes a name look like another one that it is not, as the end of a sentence: letters of two alphabets in a
    word, look-alikes alone ("СОАР"), styled letters (fullwidth, mathematical, small capitals), piles of marks."""
    if letter := mixed_alphabets(name):
        return f"mixes alphabets (U+{ord(letter):04X} beside Latin letters), as look-alikes do"
    if letter := next(filter(_styled, name), None):
        return f"holds U+{ord(letter):04X}, a styled letter that looks like a plain one"
    letters = re.findall(r"[^\W\d_]", name)
    if len(letters) > 1 and _LOOKS_LATIN.issuperset(letters):
        return f"has only letters that look like Latin ones (the first U+{ord(letters[0]):04X})"
    composed = unicodedata.normalize("NFC", name)
    marks = "".join("m" if unicodedata.category(letter).startswith("M") else " " for letter in composed)
    return "piles up combining marks" if "m" * (MOST_MARKS + 1) in marks else None


def _styled(letter: str) -> bool:
    """Whether a letter is a plain one in another style; the micro sign and such of Latin-1 are plain."""
    if ord(letter) < 0x0250 or not unicodedata.category(letter).startswith("L"):
        return False
    latin = "LATIN" in unicodedata.name(letter, "") and not 0x1E00 <= ord(letter) <= 0x1EFF
    return latin or unicodedata.normalize("NFKC", letter) != unicodedata.normalize("NFC", letter)

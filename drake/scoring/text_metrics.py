"""The metrics of the text benchmarks: ROUGE-L, and those of GLUE. `drake.scoring.metrics` registers them.

`evaluate.load` downloads its metrics as code, so none is loaded: ROUGE-L is that of the package rouge-score, which
`evaluate` wraps too, the correlations are SciPy's, and the two of a 2 x 2 table are written out here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

POSITIVE = "yes"
"""The class whose F1 is taken, in lower case: GLUE's questions ask whether two sentences mean the same."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_WORD = re.compile(r"[a-z0-9]+")
_ONE_BY_ONE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Scripts without spaces between words, whose characters are compared one by one."""


class Words:
    """The words that ROUGE-L compares, as rouge-score wants a tokenizer: lower case, letters and digits alone.

    For text in ASCII these are exactly those of rouge-score (without its stemmer), which drops all other letters, so
    that equal answers in Arabic or Chinese would score 0. Here letters of every script count, with their marks.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text in order."""
        text = text.lower()
        if text.isascii():
            return _WORD.findall(text)
        found: list[str] = []
        inside = False
        for character in unicodedata.normalize("NFC", text):
            if unicodedata.category(character)[0] not in "LMN":
                inside = False
            elif _stands_alone(character):
                found.append(character)
                inside = False
            elif inside:
                found[-1] += character
            else:
                found.append(character)
                inside = True
        return found


def _stands_alone(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _ONE_BY_ONE)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # here: it loads nltk, which most callers never need

    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Words())


def rouge_l(answer: str, gold: str) -> float:
    """ROUGE-L of one answer: the F-measure over the longest common subsequence of words, no stemming."""
    return float(_rouge().score(gold, answer)["rougeL"].fmeasure)


def said_positive(gold: str, correct: bool) -> tuple[bool, bool]:
    """(gold is positive, the answer says positive) of a question with two choices, of which `POSITIVE` is one or not.
    An answer that picks nothing is wrong, and counts as the other class."""
    positive = gold.strip().lower() == POSITIVE
    return positive, positive == correct


def f1_and_accuracy(marked: Sequence[tuple[str, bool]]) -> float:
    """The mean of the F1 of the class `POSITIVE` and of the accuracy, as GLUE averages the two. marked: gold answer and
    whether the answer is right, of each question. F1 is 0 where no answer and no gold is positive."""
    pairs = [said_positive(gold, correct) for gold, correct in marked]
    hits = sum(gold and said for gold, said in pairs)
    named = sum(gold for gold, _ in pairs) + sum(said for _, said in pairs)
    f1 = 2 * hits / named if named else 0.0
    return (f1 + sum(correct for _, correct in marked) / len(marked)) / 2


def matthews(marked: Sequence[tuple[str, bool]]) -> float:
    """The Matthews correlation of a question with two choices (Matthews 1975), 0 where it is negative or not defined.
    marked: as for `f1_and_accuracy`. It is the same whichever class is called positive."""
    first = marked[0][0]
    pairs = [(gold == first, (gold == first) == correct) for gold, correct in marked]
    both = sum(gold and said for gold, said in pairs)
    none = sum(not gold and not said for gold, said in pairs)
    false = sum(said and not gold for gold, said in pairs)
    missed = sum(gold and not said for gold, said in pairs)
    product = (both + false) * (both + missed) * (none + false) * (none + missed)
    return max(0.0, (both * none - false * missed) / product**0.5) if product else 0.0


def number_in(text: str, whole: bool = False) -> float:
    """The first number in a text; with `whole` the text must be a number and nothing else. 0.0 where there is none."""
    found = _NUMBER.fullmatch(text.strip().rstrip(".")) if whole else _NUMBER.search(text)
    return float(found[0]) if found else 0.0


def correlation(answers: Sequence[float], golds: Sequence[float]) -> float:
    """The mean of Pearson's and Spearman's correlation, as GLUE averages the two for STS-B; 0 where it is negative, and
    where it is not defined: for fewer than two answers, and where all answers or all golds are equal."""
    if len(set(answers)) < 2 or len(set(golds)) < 2:
        return 0.0
    from scipy.stats import pearsonr, spearmanr

    pearson, spearman = (cast("tuple[float, float]", measure(answers, golds))[0] for measure in (pearsonr, spearmanr))
    return max(0.0, float(pearson + spearman) / 2)

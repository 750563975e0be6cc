"""The metrics of tasks: how the answers of one client to one task become a score, by either protocol.

METRICS holds all of them, by the name that stands in the column `metric` of a dataset. A further metric is one more
entry there. Everything here is a pure function of answers, and scores are fractions.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drake.errors import DrakeError
from drake.scoring.text_metrics import correlation, f1_and_accuracy, matthews, number_in, rouge_l

_ARTICLES = frozenset({"a", "an", "the"})
_MARK = re.escape(string.punctuation)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PUNCTUATION = re.compile(rf"(?<=\d)[{_MARK}](?=\d)|(?<!\w)[-.](?=\$?\.?\d)|([{_MARK}])")
"""Group 1: punctuation that is no part of a number. The other two kinds are: between digits, and a sign or decimal
point before the first digit."""


class MarkedAnswer(NamedTuple):
    """One answer as metrics see it.

    correct, strict_correct: whether the choice that the answer picks is the right one, by either protocol; None for
    open-ended questions. predicted_ids, gold_ids: token ids of `text` and `gold` by the tokenizer of the model that
    answered; None for choice questions.
    """

    text: str
    gold: str
    correct: bool | None
    strict_correct: bool | None
    predicted_ids: Sequence[int] | None
    gold_ids: Sequence[int] | None


TaskScorer = Callable[[Sequence[MarkedAnswer]], float]
"""All answers of one client to one task, at least one, -> their score."""


@dataclass(frozen=True)
class Metric:
    """How answers are scored.

    name: in the column `metric` of a dataset. open_ended: whether the text itself is scored instead of the choice that
    it picks; answers to such questions are stored with their token ids. official, strict: the score by each protocol.
    """

    name: str
    open_ended: bool
    official: TaskScorer
    strict: TaskScorer


def official_f1(pairs: Iterable[tuple[Iterable[int], Iterable[int]]]) -> float:
    """F1 of all open-ended answers of one task together, from pairs of (predicted ids, gold ids).

    Token ids count once per answer. As in the released code the counters of generated and matched ids start at 1
    and that of gold ids at 0, so the value is never 0 and can exceed 1 on tiny sets; 0.0 without any gold id.
    """
    gold_count, generated, matched = 0, 1, 1
    for predicted_ids, gold_ids in pairs:
        predicted, gold = set(predicted_ids), set(gold_ids)
        gold_count += len(gold)
        generated += len(predicted)
        matched += len(predicted & gold)
    if not gold_count:
        return 0.0
    precision, recall = matched / generated, matched / gold_count
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    """Lower-case words without punctuation, except the punctuation that numbers are spelled with: "1.5", "-5", "10:15".
    Commas that group thousands are removed."""
    text = _THOUSANDS.sub("", text.lower())
    return _PUNCTUATION.sub(lambda mark: "" if mark[1] else mark[0], text).split()


def token_f1(answer: str, gold: str) -> float:
    """Word-level F1 of one answer, after lower-casing and without punctuation and articles.

    A word counts as often as both sides hold it. Punctuation inside numbers and their sign stay, and articles count
    where the gold answer holds nothing else. 1.0 if both sides are empty after that, 0.0 if one is.
    """
    answered, wanted = _words(answer), _words(gold)
    if not wanted or not set(wanted) <= _ARTICLES:
        answered, wanted = ([word for word in side if word not in _ARTICLES] for side in (answered, wanted))
    if not answered or not wanted:
        return float(answered == wanted)
    common = sum((Counter(answered) & Counter(wanted)).values())
    return 2 * common / (len(answered) + len(wanted))


def mean_of(score: Callable[[str, str], float]) -> TaskScorer:
    """The mean of score(text, gold) over the answers, the same in whatever order they come."""
    return lambda answers: math.fsum(score(answer.text, answer.gold) for answer in answers) / len(answers)


def _accuracy(answers: Sequence[MarkedAnswer]) -> float:
    return sum(bool(answer.correct) for answer in answers) / len(answers)


def _strict_accuracy(answers: Sequence[MarkedAnswer]) -> float:
    return sum(bool(answer.strict_correct) for answer in answers) / len(answers)


def _official_f1_of_ids(answers: Sequence[MarkedAnswer]) -> float:
    return official_f1((answer.predicted_ids or (), answer.gold_ids or ()) for answer in answers)


def _of_marks(score: Callable[[Sequence[tuple[str, bool]]], float], strict: bool) -> TaskScorer:
    """A score of the gold answers and of which answers are right, by one protocol."""
    return lambda answers: score(
        [(answer.gold, bool(answer.strict_correct if strict else answer.correct)) for answer in answers]
    )


def _correlation(strict: bool) -> TaskScorer:
    """The correlation of the numbers that answers give: the first in the text, by protocol strict the whole text."""
    return lambda answers: correlation(
        [number_in(answer.text, whole=strict) for answer in answers], [number_in(answer.gold) for answer in answers]
    )


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", open_ended=False, official=_accuracy, strict=_strict_accuracy),
        Metric("token-F1", open_ended=True, official=_official_f1_of_ids, strict=mean_of(token_f1)),
        Metric("ROUGE-L", open_ended=True, official=mean_of(rouge_l), strict=mean_of(rouge_l)),
        Metric("F1+accuracy", False, _of_marks(f1_and_accuracy, False), _of_marks(f1_and_accuracy, True)),
        Metric("Matthews", False, _of_marks(matthews, False), _of_marks(matthews, True)),
        Metric("Pearson+Spearman", True, _correlation(False), _correlation(True)),
    )
}
"""Name of a metric -> the metric; `drake.data.record.MetricName` lists the same names."""


def metric_of(name: str, task: str) -> Metric:
    """The metric that a task names. DrakeError for one that is not in METRICS."""
    if name not in METRICS:
        known = ", ".join(repr(known) for known in METRICS)
        raise DrakeError(f"task {task} has the metric {name!r}; known are {known}; correct its column `metric`.")
    return METRICS[name]

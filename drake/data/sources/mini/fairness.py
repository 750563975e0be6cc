"""Statistics of every task of the mini suite, committed beside this file, and the bounds that a fair task keeps.

A task is fair if its texts alone do not reveal the answer (a classifier without pictures stays at chance), no answer
is much more frequent than the others, no record repeats another, and the official matcher maps every gold answer to
itself. A test compares the committed statistics with the suite.

    python -m drake.data.sources.mini.fairness   # draws the suite, writes statistics.json, names what is unfair
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import torch

from drake.common.files import replacing
from drake.common.seeds import torch_generator
from drake.common.threads import use_threads
from drake.data.record import Record
from drake.data.sources.mini.suite import suite_records
from drake.scoring.answers import match_choice, parse_choices

STATISTICS_FILE = Path(__file__).with_name("statistics.json")
TEXT_ONLY_MARGIN = 0.08
"""Accuracy (fraction) above chance allowed to a text-only classifier: over three standard errors of 500 coin flips."""
ANSWER_SHARE_MARGIN = 0.10
"""Fraction by which the share of the most frequent answer may exceed an even share."""
EXEMPT = ("Co-Instruct-DB-0: the official matcher recovers 0.800 of the answers",)
"""The matcher knows the option letters A to D, and this task has A to E as in the official data: gold E is lost."""
FOLDS = 5
_STEPS = 60


class TaskStatistics(NamedTuple):
    """Statistics of one task's records; shares and accuracies are fractions.

    train, test: records of each split.
    answers: distinct gold answers.
    largest_answer_share: share of the most frequent gold answer.
    even_share: mean of 1 / number of choices; open-ended: 1 / distinct answers.
    chance: expected score of guessing: `even_share`; open-ended: `largest_answer_share`.
    repeats: records with the prompt and pictures of another record of the same split.
    leaks: test records with the prompt and pictures of a training record.
    matcher_recovery: share of gold answers that the official matcher maps to themselves; 1 when open-ended.
    fewest_images, most_images: pictures per record.
    prompt_words: mean number of words of a prompt, "<image>" not counted.
    text_only_accuracy: cross-validated accuracy of a classifier that sees prompts and choices only.
    fingerprint: of all prompts, choices and answers in order; changes with a world's words and random draws.
    """

    train: int
    test: int
    answers: int
    largest_answer_share: float
    even_share: float
    chance: float
    repeats: int
    leaks: int
    matcher_recovery: float
    fewest_images: int
    most_images: int
    prompt_words: float
    text_only_accuracy: float
    fingerprint: str


def statistics(records: Sequence[Record]) -> TaskStatistics:
    """Statistics of one task, from all its records of both splits (the split is read from a record's id)."""
    of_split = {
        split: [record for record in records if record.id.split("/")[1] == split] for split in ("train", "test")
    }
    contents = {split: [(r.prompt, r.images) for r in part] for split, part in of_split.items()}
    distinct = {split: set(part) for split, part in contents.items()}
    answers = Counter(record.answer for record in records)
    largest_share = max(answers.values()) / len(records)
    closed = bool(records[0].choices)
    even_share = _mean(1 / len(r.choices) for r in records) if closed else 1 / len(answers)
    image_counts = [len(record.images) for record in records]
    return TaskStatistics(
        train=len(of_split["train"]),
        test=len(of_split["test"]),
        answers=len(answers),
        largest_answer_share=round(largest_share, 4),
        even_share=round(even_share, 4),
        chance=round(even_share if closed else largest_share, 4),
        repeats=sum(len(contents[split]) - len(distinct[split]) for split in contents),
        leaks=sum(content in distinct["train"] for content in contents["test"]),
        matcher_recovery=_mean(_recovered(record) for record in records) if closed else 1.0,
        fewest_images=min(image_counts),
        most_images=max(image_counts),
        prompt_words=round(_mean(len(_words(record.prompt)) for record in records), 1),
        text_only_accuracy=round(text_only_accuracy(records), 4),
        fingerprint=fingerprint(records),
    )


def violations(found: TaskStatistics) -> list[str]:
    """One sentence for each bound that is exceeded; empty for a fair task."""
    bounds = {
        f"words alone score {found.text_only_accuracy:.3f}, chance is {found.chance:.3f}": (
            found.text_only_accuracy <= found.chance + TEXT_ONLY_MARGIN
        ),
        f"the commonest answer has {found.largest_answer_share:.3f}, an even share {found.even_share:.3f}": (
            found.largest_answer_share <= found.even_share + ANSWER_SHARE_MARGIN
        ),
        f"{found.repeats} records repeat another of their split": found.repeats == 0,
        f"{found.leaks} test records are training records": found.leaks == 0,
        f"the official matcher recovers {found.matcher_recovery:.3f} of the answers": found.matcher_recovery == 1,
    }
    return [sentence for sentence, holds in bounds.items() if not holds]


def text_only_accuracy(records: Sequence[Record]) -> float:
    """Accuracy in five-fold cross-validation of a linear softmax model that scores each choice from the texts alone.

    The features of a choice: its text, its place in the list, and every word and word pair of the prompt combined with
    its text; if choices are letters or numbers, also the text that a letter or number refers to. In open-ended tasks
    all answers of the task are the choices. The folds are drawn from a fixed seed.
    """
    closed = bool(records[0].choices)
    vocabulary = tuple(sorted({record.answer for record in records}))
    choices = [record.choices if closed else vocabulary for record in records]
    gold = torch.tensor([options.index(r.answer) for options, r in zip(choices, records, strict=True)])
    widest = max(map(len, choices))
    present = torch.tensor([[place < len(options) for place in range(widest)] for options in choices])
    features = _feature_matrix(_informative_words(records), records, choices, widest)

    folds = torch.randperm(len(records), generator=torch_generator(0, "mini", "fairness")) % FOLDS
    held_out = torch.nn.functional.one_hot(folds, FOLDS).bool()  # [records, FOLDS]
    scores = _fit(features, gold, present, trained=~held_out)  # [records, choices, FOLDS]
    of_own_fold = scores[torch.arange(len(records)), :, folds]
    return (of_own_fold.argmax(1) == gold).float().mean().item()


def _fit(features: torch.Tensor, gold: torch.Tensor, present: torch.Tensor, trained: torch.Tensor) -> torch.Tensor:
    """Scores [records, choices, FOLDS] of one regularised softmax model per fold, all fitted at once.

    features: sparse [records * choices, features]; gold: [records]; present: [records, choices], False where
    a record has fewer choices than others; trained: [records, FOLDS], True where a record trains the model of a fold.
    """
    records, widest = present.shape
    weights = torch.zeros(features.shape[1], FOLDS, requires_grad=True)
    absent = torch.zeros(records, widest, 1).masked_fill(~present[:, :, None], -1e9)
    optimiser = torch.optim.Adam([weights], lr=0.1)
    for _ in range(_STEPS):
        scores = (features @ weights).view(records, widest, FOLDS) + absent
        losses = -scores.log_softmax(1)[torch.arange(records), gold]  # [records, FOLDS]
        loss = (losses * trained).sum() + 0.5 * weights.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return ((features @ weights).view(records, widest, FOLDS) + absent).detach()


def _feature_matrix(
    words: Sequence[Iterable[str]],
    records: Sequence[Record],
    choices: Sequence[tuple[str, ...]],
    widest: int,
) -> torch.Tensor:
    """Sparse 0/1 matrix [records * widest, features]; row `record * widest + place` describes a choice."""
    columns: dict[tuple[str, ...], int] = {}
    rows_of: list[int] = []
    columns_of: list[int] = []
    for number, (record, options) in enumerate(zip(records, choices, strict=True)):
        for place, option in enumerate(options):
            texts = dict.fromkeys((option, _stands_for(record.prompt, option)))
            found = [("place", str(place), str(len(options))), *(("text", text) for text in texts)]
            found += [(word, text) for text in texts for word in words[number]]
            rows_of += [number * widest + place] * len(found)
            columns_of += [columns.setdefault(feature, len(columns)) for feature in found]
    indices = torch.tensor([rows_of, columns_of])
    shape = (len(records) * widest, len(columns))
    return torch.sparse_coo_tensor(indices, torch.ones(len(rows_of)), shape, check_invariants=True).coalesce()


def _informative_words(records: Sequence[Record]) -> list[list[str]]:
    """Words and word pairs of each prompt, without those that every prompt of the task has."""
    found: list[set[str]] = []
    for record in records:
        words = _words(record.prompt.lower())
        found.append({*words, *map(" ".join, pairwise(words))})
    everywhere = set.intersection(*found)
    return [sorted(words - everywhere) for words in found]


def _stands_for(prompt: str, choice: str) -> str:
    """The text of a choice that a prompt lists ("stew" of "B. stew" for "B"), or the choice itself."""
    listed = re.search(rf"^\W*{re.escape(choice)}[.):]\s*(\S.*)$", prompt, re.MULTILINE)
    return listed.group(1) if listed else choice


def _words(prompt: str) -> list[str]:
    return re.findall(r"[\w']+", prompt.replace("<image>", " "))


def _recovered(record: Record) -> bool:
    return match_choice(record.answer, parse_choices(record.prompt)) == record.answer


def fingerprint(records: Iterable[Record]) -> str:
    """16 hexadecimal digits. Pictures are left out: another version of the drawing library may move a pixel."""
    texts = [(record.id, record.prompt, record.choices, record.answer) for record in records]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def suite_statistics(seed: int = 0, train: int = 400, test: int = 100) -> dict[str, TaskStatistics]:
    """Task id -> statistics for the whole suite."""
    drawn = (record for _, record in suite_records(seed, train, test, public_per_world=0))
    return {task: statistics(list(records)) for task, records in groupby(drawn, key=lambda record: record.task)}


def read_statistics() -> dict[str, TaskStatistics]:
    """The committed statistics."""
    return {task: TaskStatistics(**row) for task, row in json.loads(STATISTICS_FILE.read_text()).items()}


def write_statistics(found: Mapping[str, TaskStatistics]) -> None:
    """Replace the committed statistics; a reader sees the old file or the new one, never a part."""
    with replacing(STATISTICS_FILE) as temporary:
        temporary.write_text(json.dumps({task: row._asdict() for task, row in sorted(found.items())}, indent=1) + "\n")


def main() -> int:
    """Write statistics.json; 1 if a task is out of bounds, 0 if all are fair."""
    use_threads(1)
    found = suite_statistics()
    write_statistics(found)
    unfair = [f"{task}: {sentence}" for task, row in sorted(found.items()) for sentence in violations(row)]
    unfair = [line for line in unfair if line not in EXEMPT]
    print(f"{len(found)} tasks, {len(unfair)} out of bounds", *unfair, sep="\n")
    return 1 if unfair else 0


if __name__ == "__main__":
    sys.exit(main())

"""AQUA: questions about paintings.

    AQUA/train.json, val.json, test.json    [{image, question, answer, need_external_knowledge}]
    AQUA/images/29281-213muril.jpg          of SemArt, also in Images/

Questions that need knowledge of art are left out: their answers are whole phrases. Tasks are told apart by words of the
question. Three wrong answers are drawn from those of the same task to questions that begin with the same word, and from
all of the task where there are too few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from drake.data.sources.raw.dataset import (
    Draft,
    Entry,
    RawDataset,
    Size,
    ask,
    listable,
    others,
    shuffled,
    text_of,
    value_of,
)
from drake.data.sources.tables import Row
from drake.errors import DrakeError

CHOICES = 4
INSTRUCTION = "Answer the question using the choices from the choice list."
KEYWORDS = (("stand",), ("sit", "on the"), ("wear", "hold", "walk", "talk", "look", "sell"))
"""Words of the questions of AQUA-0, AQUA-1 and AQUA-2, looked for in this order; AQUA-3 has the others."""


class Aqua(RawDataset):
    """Four tasks of HFLB."""

    name = "AQUA"
    licence = "MIT (annotations); pictures of SemArt, rights unstated"
    sizes: ClassVar = {f"AQUA-{number}": Size(10_000, 1000) for number in range(4)}
    files: ClassVar = {"train": ("train.json", "val.json"), "test": ("test.json",)}

    def entry(self, row: Row) -> Entry | None:
        """Group: the painting."""
        external = value_of(row, "need_external_knowledge")
        if not isinstance(external, bool):
            raise DrakeError(f"{row.where}: its 'need_external_knowledge' must be true or false.")
        image, question, answer = text_of(row, "image"), text_of(row, "question"), text_of(row, "answer")
        if external or not listable(answer):
            return None
        kind = next((n for n, words in enumerate(KEYWORDS) if any(word in question for word in words)), len(KEYWORDS))
        values = {
            "question": question.rstrip("? "),
            "answer": answer,
            "asked": question.partition(" ")[0],
            "picture": (f"images/{image}", f"Images/{image}"),
        }
        return Entry(row.where, values, (image,), f"AQUA-{kind}")

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each question that enough wrong answers are found for."""
        counted: dict[str, dict[str, None]] = defaultdict(dict)
        for entry in self.of_task(task, pool):
            counted[entry.values["asked"]][entry.values["answer"]] = None
            counted[""][entry.values["answer"]] = None
        answers = {word: list(found) for word, found in counted.items()}
        for entry in entries:
            right = entry.values["answer"]
            wrong = others(right, answers[entry.values["asked"]], CHOICES - 1, rng)
            if len(wrong) < CHOICES - 1:
                wrong = others(right, answers[""], CHOICES - 1, rng)
            if not wrong:
                continue  # there is nothing to choose from
            choices = shuffled((right, *wrong), rng)
            prompt = ask(f"<image>\n{entry.values['question']}?\n{INSTRUCTION}", choices=choices)
            yield Draft(entry.where, prompt, (entry.values["picture"],), choices, right)

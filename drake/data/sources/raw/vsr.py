"""VSR: is the stated spatial relation of two things true of a photograph?

VSR/train.jsonl, dev.jsonl, test.jsonl    of the zero-shot division: {image, caption, label 0 or 1, ...}
VSR/images/000000558388.jpg               of COCO 2017
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from drake.data.sources.raw.dataset import TRUE_FALSE, Draft, Entry, RawDataset, Size, ask, one_of, text_of
from drake.data.sources.tables import Row

INSTRUCTIONS = (
    "Decide whether the caption states the position of the things in the image correctly.",
    "Is the spatial relation in the caption true of this image?",
)


class VSR(RawDataset):
    """All records of the zero-shot division; its dev part belongs to train, as in DRAKE."""

    name = "VSR"
    licence = "Apache-2.0 (repository); pictures of COCO 2017"
    sizes: ClassVar = {"VSR-0": Size(10_000, 2000)}
    files: ClassVar = {"train": ("train.jsonl", "dev.jsonl"), "test": ("test.jsonl",)}

    def entry(self, row: Row) -> Entry:
        """Group: the photograph."""
        image = text_of(row, "image")
        values = {
            "caption": text_of(row, "caption"),
            "label": one_of(row, "label", {"0": "False", "1": "True"}),
            "picture": (f"images/{image}",),
        }
        return Entry(row.where, values, (image,))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each caption."""
        for number, entry in enumerate(entries):
            instruction = INSTRUCTIONS[number % len(INSTRUCTIONS)]
            prompt = ask(f"{instruction}\n<image>\nCaption: {entry.values['caption']}", choices=TRUE_FALSE)
            yield Draft(entry.where, prompt, (entry.values["picture"],), TRUE_FALSE, entry.values["label"])

"""DreamSim (NIGHTS): which of two pictures is more like a third?

    DreamSim/data.csv                 id, ref_path, left_path, right_path, left_vote, right_vote, split
    DreamSim/ref/...  distort/...     pictures, at the paths in data.csv

Triplets on which the votes are equal are left out. The column `split` divides them; its part "val" is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar

from drake.data.sources.base import Split
from drake.data.sources.raw.dataset import Draft, Entry, RawDataset, Size, ask, text_of
from drake.data.sources.tables import Row
from drake.errors import DrakeError

CHOICES = ("Image A", "Image B")
INSTRUCTIONS = (
    "Which image looks more like the reference image?",
    "Choose the image that a person would find more similar to the reference.",
)


class DreamSim(RawDataset):
    """An unseen task of DRAKE."""

    name = "DreamSim"
    licence = "MIT (repository); no separate statement for the pictures"
    sizes: ClassVar = {"DreamSim-0": Size(10_000, 2000)}
    files: ClassVar = {"train": ("data.csv",), "test": ()}

    def entry(self, row: Row) -> Entry | None:
        """Groups: the three pictures."""
        paths = [text_of(row, f"{name}_path") for name in ("left", "ref", "right")]
        try:
            left, right = (float(text_of(row, f"{name}_vote")) for name in ("left", "right"))
        except ValueError as error:
            raise DrakeError(f"{row.where}: its votes must be numbers.") from error
        part = text_of(row, "split")
        if left == right or part == "val":
            return None
        values = {"pictures": tuple((path,) for path in paths), "answer": CHOICES[left < right], "split": part}
        return Entry(row.where, values, tuple(paths))

    def own_split(self, entry: Entry, split: Split) -> Split:
        """By the column `split`."""
        return "test" if entry.values["split"].startswith("test") else "train"

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each triplet: left, reference, right."""
        for number, entry in enumerate(entries):
            images = "Image A:<image> Ref Image:<image> Image B:<image>"
            prompt = ask(INSTRUCTIONS[number % len(INSTRUCTIONS)], images, choices=CHOICES)
            yield Draft(entry.where, prompt, entry.values["pictures"], CHOICES, entry.values["answer"])

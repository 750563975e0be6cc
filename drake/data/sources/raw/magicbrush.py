"""MagicBrush: in which direction does an editing instruction lead?

    MagicBrush/data/train-*.parquet, dev-*.parquet    img_id, turn_index, source_img, mask_img, instruction, target_img

In every second record the edited picture comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from drake.data.sources.raw.cells import text_rows
from drake.data.sources.raw.dataset import Cell, Draft, Entry, RawDataset, Size, ask, text_of

CHOICES = ("A to B", "B to A")
COLUMNS = ("img_id", "turn_index", "instruction")
INSTRUCTIONS = (
    "One image was edited into the other. In which direction does the instruction lead?",
    "Does the editing instruction turn image A into image B, or image B into image A?",
    "Decide which of the two images came first, given the instruction that changed it.",
)


class MagicBrush(RawDataset):
    """Train records of its train part, test records of its dev part."""

    name = "MagicBrush"
    licence = "CC-BY-4.0"
    sizes: ClassVar = {"MagicBrush-0": Size(4000, 528)}
    files: ClassVar = {"train": ("data/train-*.parquet",), "test": ("data/dev-*.parquet",)}

    def entries(self, path: Path) -> Iterator[Entry]:
        """Group: the photograph, which several turns edit."""
        file = path.relative_to(self.folder).as_posix()
        for number, row in enumerate(text_rows(path, COLUMNS)):
            image, _ = text_of(row, "img_id"), text_of(row, "turn_index")
            pictures = (Cell(file, number, "source_img"), Cell(file, number, "target_img"))
            yield Entry(row.where, {"instruction": text_of(row, "instruction"), "pictures": pictures}, (image,))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each turn."""
        for number, entry in enumerate(entries):
            pictures = entry.values["pictures"][:: -1 if number % 2 else 1]
            images = f"Image A:<image> Image B:<image> Instruction: {entry.values['instruction']}"
            prompt = ask(INSTRUCTIONS[number % len(INSTRUCTIONS)], images, choices=CHOICES)
            yield Draft(entry.where, prompt, pictures, CHOICES, CHOICES[number % 2])

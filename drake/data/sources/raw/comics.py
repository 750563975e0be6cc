"""COMICS text cloze: which words continue three panels of a comic?

    COMICS_Dialogue/folds/text_cloze_train_easy.csv, text_cloze_dev_easy.csv, text_cloze_test_easy.csv (or _hard)
    COMICS_Dialogue/raw_panel_images/BOOK/PAGE_PANEL.jpg

Shown are the three panels before the one whose words are asked for. The files offer three answers; a fourth is drawn
from another book. The panel itself is not shown: its words would have to be painted over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from drake.data.sources.base import Split
from drake.data.sources.raw.dataset import LETTERS, Draft, Entry, RawDataset, Size, ask, one_of, shuffled, text_of
from drake.data.sources.tables import Row
from drake.errors import DrakeError

INSTRUCTION = "The images are panels of a comic in their order. Choose the words of the panel that comes next."
LETTER = " Answer with the option's letter from the given choices directly. Your answer is:"
_PLAIN = str.maketrans({"|": "/", "[": "(", "]": ")", "\n": " "})


class Comics(RawDataset):
    """The dev fold counts as train; of the two difficulties, the easy one is read where both are there."""

    name = "COMICS_Dialogue"
    licence = "MIT (software, dataset and documentation)"
    sizes: ClassVar = {"COMICS_Dialogue-0": Size(4800, 1200)}
    files: ClassVar = {
        "train": tuple(
            f"folds/text_cloze_{fold}_{level}.csv" for level in ("easy", "hard") for fold in ("train", "dev")
        ),
        "test": ("folds/text_cloze_test_easy.csv", "folds/text_cloze_test_hard.csv"),
    }

    def record_files(self) -> dict[Split, list[Path]]:
        """The files of one difficulty: the two ask the same questions."""
        found = super().record_files()
        easy = any("_easy" in path.name for paths in found.values() for path in paths)
        return {split: [path for path in paths if ("_easy" in path.name) == easy] for split, paths in found.items()}

    def entry(self, row: Row) -> Entry:
        """Group: the book."""
        book, page = text_of(row, "book_id"), text_of(row, "page_id")
        answers = [text_of(row, f"answer_candidate_{number}_text").translate(_PLAIN) for number in range(3)]
        right = one_of(row, "correct_answer", {str(number): str(number) for number in range(3)})
        panels = [text_of(row, f"context_panel_{number}_id") for number in range(3)]
        pictures = tuple((f"raw_panel_images/{book}/{page}_{panel}.jpg",) for panel in panels)
        return Entry(row.where, {"answers": answers, "right": int(right), "pictures": pictures, "book": book}, (book,))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each row."""
        for entry in entries:
            offered = entry.values["answers"]
            right = offered[entry.values["right"]]
            strange = [other for other in pool if other.values["book"] != entry.values["book"]]
            further = [text for other in rng.sample(strange, min(8, len(strange))) for text in other.values["answers"]]
            fresh = [text for text in further if text not in offered]
            if not fresh:
                raise DrakeError(f"{entry.where} is of the only book in its split; add files, or rows of other books.")
            if len(set(offered)) < len(offered):
                continue  # two equal answers, of which only one would be right
            options = shuffled([*offered, fresh[0]], rng)
            listed = "| ".join(f"{letter}: {text}" for letter, text in zip(LETTERS, options, strict=True))
            prompt = ask(f"{INSTRUCTION}\n<image><image><image>", choices=[listed], instruct=LETTER)
            answer = LETTERS[options.index(right)]
            yield Draft(entry.where, prompt, entry.values["pictures"], LETTERS, answer)

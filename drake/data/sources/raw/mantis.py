"""Mantis-Instruct: which of several pictures is meant?

    Mantis_contrastive_caption/train*.json or train*.parquet    {images: [path or {path}], conversation: [turns]}
    Mantis_contrastive_caption/PATH or train_images/PATH        pictures, at the paths in the files

A record is a first question with an answer that names one picture ("Image 2", "the second image"), where the question
names none. Further turns are left out, and what else the answer says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, ClassVar

from drake.data.oracle import IMAGE_MARK
from drake.data.sources.raw.dataset import Draft, Entry, RawDataset, Size, ask, value_of
from drake.data.sources.tables import Row
from drake.errors import DrakeError

MOST = 8
"""Pictures of a record; those with more are left out."""
PICK = "You must choose your answer from the Choice List."
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_NAMED = re.compile(rf"\bimage\s+(\d+)\b|\b({'|'.join(ORDINALS)})\s+image\b", re.IGNORECASE)


class Mantis(RawDataset):
    """Two unseen tasks of DRAKE: pictures of COCO and LLaVA-Pretrain (1), and all others (0), those of LAION mostly."""

    name = "Mantis_contrastive_caption"
    licence = "Apache-2.0 (data); pictures belong to their owners"
    sizes: ClassVar = {
        "Mantis_contrastive_caption-0": Size(10_000, 2000),
        "Mantis_contrastive_caption-1": Size(10_000, 2000),
    }
    files: ClassVar = {"train": ("train*.json", "train*.parquet"), "test": ()}

    def entry(self, row: Row) -> Entry | None:
        """Groups: the pictures."""
        images, turns = value_of(row, "images"), value_of(row, "conversation")
        if not isinstance(images, list) or not isinstance(turns, list):
            raise DrakeError(f"{row.where}: 'images' and 'conversation' must be lists.")
        paths = [self._path(row, image) for image in images]
        texts = [self._text(row, turn) for turn in turns[:2]]
        if len(texts) < 2 or not 2 <= len(paths) <= MOST:
            return None
        question = texts[0].replace(IMAGE_MARK, "").strip()
        named = {
            int(digits) if digits else ORDINALS.index(word.lower()) + 1 for digits, word in _NAMED.findall(texts[1])
        }
        if len(named) != 1 or _NAMED.search(question) or not question:
            return None
        (number,) = named
        if not 1 <= number <= len(paths):
            raise DrakeError(f"{row.where}: its answer names image {number} of {len(paths)}.")
        known = all("coco" in path.lower() or "llava_pretrain" in path.lower() for path in paths)
        values = {
            "question": question,
            "number": number,
            "pictures": tuple((path, f"train_images/{path}") for path in paths),
        }
        return Entry(row.where, values, tuple(paths), f"{self.name}-{int(known)}")

    def _path(self, row: Row, image: Any) -> str:
        path = image.get("path") if isinstance(image, dict) else image
        if not isinstance(path, str) or not path:
            raise DrakeError(f"{row.where}: 'images' must hold paths of pictures.")
        return path

    def _text(self, row: Row, turn: Any) -> str:
        text = turn.get("content") if isinstance(turn, dict) else None
        if not isinstance(text, str):
            raise DrakeError(f"{row.where}: a turn of its 'conversation' has no text 'content'.")
        return text

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each question."""
        for entry in entries:
            pictures = entry.values["pictures"]
            choices = tuple(f"Image {number}" for number in range(1, len(pictures) + 1))
            prompt = ask(f"{IMAGE_MARK * len(pictures)}\n{entry.values['question']} {PICK}", choices=choices)
            yield Draft(entry.where, prompt, pictures, choices, choices[entry.values["number"] - 1])

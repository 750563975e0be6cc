"""NLVR2 and NLVR: does a sentence hold for a pair of photographs, or for one drawn picture of three boxes?

    NLVR2/train.json, dev.json, test1.json    JSON Lines {sentence, identifier "dev-850-0-0", left_url, right_url, ...}
    NLVR2/images/.../dev-850-0-img0.png       left; -img1 right; also train/DIRECTORY/, dev/, test1/ below images/
    NLVR/dev.json, test.json, train.json      JSON Lines {sentence, identifier "17-3", directory, label}
    NLVR/images/.../dev-17-3-0.png            also below images/DIRECTORY/

The identifier is split, picture set, pair, sentence; a pair is asked about in several sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from drake.data.sources.raw.dataset import TRUE_FALSE, Draft, Entry, RawDataset, Size, ask, one_of, text_of
from drake.data.sources.tables import Row
from drake.errors import DrakeError

INSTRUCTIONS = (
    "Look at both images and decide whether the relation between them is as stated.",
    "Does the relation below describe the two images correctly?",
    "Judge whether the stated relation is true of this pair of images.",
)
ABOUT_ONE = "Decide whether the statement is true of the image."
_TRUTH = {"True": "True", "False": "False", "true": "True", "false": "False"}


class NLVR2(RawDataset):
    """Two tasks of the same form, as DRAKE has them; entries are shared out between them."""

    name = "NLVR2"
    licence = "CC-BY-4.0 (annotations); pictures not licensed"
    sizes: ClassVar = {"NLVR2-0": Size(4000, 1000), "NLVR2-1": Size(4000, 1000)}
    files: ClassVar = {
        "train": ("train.json", "train.jsonl"),
        "test": ("dev.json", "test1.json", "dev.jsonl", "test1.jsonl"),
    }
    share_out = True

    def entry(self, row: Row) -> Entry:
        """Groups: the set of pictures and both addresses, since a photograph may be in several sets."""
        identifier = text_of(row, "identifier")
        if not (match := re.fullmatch(r"([a-z]+\d*)-(\d+)-(\d+)-(\d+)", identifier)):
            raise DrakeError(f"{row.where}: its identifier {identifier[:80]!r} is not as in 'dev-850-0-0'.")
        split, scenes, pair, _ = match.groups()
        folders = [f"images/{split}/", "images/"]
        if "directory" in row.values:
            folders.insert(0, f"images/{split}/{text_of(row, 'directory')}/")
        stem = f"{split}-{scenes}-{pair}-img"
        pictures = tuple(tuple(f"{folder}{stem}{place}.png" for folder in folders) for place in (0, 1))
        values = {"sentence": text_of(row, "sentence"), "label": one_of(row, "label", _TRUTH), "pictures": pictures}
        return Entry(row.where, values, (f"{split}-{scenes}", text_of(row, "left_url"), text_of(row, "right_url")))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each sentence."""
        for number, entry in enumerate(entries):
            instruction = INSTRUCTIONS[number % len(INSTRUCTIONS)]
            prompt = ask(instruction, f"<image><image>\nRelation: {entry.values['sentence']}", choices=TRUE_FALSE)
            yield Draft(entry.where, prompt, entry.values["pictures"], TRUE_FALSE, entry.values["label"])


class NLVR(RawDataset):
    """NLVR of 2017, which is no source of DRAKE: its drawn pictures have an open licence."""

    name = "NLVR"
    licence = "CC-BY-4.0"
    sizes: ClassVar = {"NLVR-0": Size(4000, 1000)}
    files: ClassVar = {
        "train": ("train.json", "train.jsonl"),
        "test": ("dev.json", "test.json", "dev.jsonl", "test.jsonl"),
    }

    def entries(self, path: Path) -> Iterator[Entry]:
        """The entries of a file, whose name begins the names of its pictures."""
        for row in self.rows(path):
            identifier, directory = text_of(row, "identifier"), text_of(row, "directory")
            name = f"{path.stem}-{identifier}-0.png"
            values = {
                "sentence": text_of(row, "sentence"),
                "label": one_of(row, "label", _TRUTH),
                "picture": (f"images/{directory}/{name}", f"images/{name}"),
            }
            yield Entry(row.where, values, (f"{path.stem}-{identifier.partition('-')[0]}",))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each sentence, with the first of the pictures that show its boxes in another order."""
        for entry in entries:
            prompt = ask(f"{ABOUT_ONE}\n<image>\nStatement: {entry.values['sentence']}", choices=TRUE_FALSE)
            yield Draft(entry.where, prompt, (entry.values["picture"],), TRUE_FALSE, entry.values["label"])

"""ImageCoDe: which of nearly identical pictures is a description about?

    imagecode/train_data.json, valid_data.json          {set of pictures: {number of a picture: description}}
    imagecode/image-sets/SET/img0.jpg ... img9.jpg      ten pictures for each set

Of the ten pictures of a set four are shown, the right one and three drawn ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from drake.data.oracle import IMAGE_MARK
from drake.data.sources.files import read_regular
from drake.data.sources.raw.dataset import IMAGES, Draft, Entry, RawDataset, Size, ask, json_object, shuffled
from drake.data.sources.tables import MOST_JSON_BYTES
from drake.errors import DrakeError

SET = 10
"""Pictures in a set."""
QUESTION = "Which of the four images fits this description best?"
LISTED = ", ".join(f"{name}: <image>" for name in IMAGES)


class ImageCoDe(RawDataset):
    """An unseen task of DRAKE. Sets of all four origins are used."""

    name = "imagecode"
    licence = (
        "MIT (annotations); pictures of MSR-VTT, Video Storytelling, YouCook and Open Images under their own terms"
    )
    sizes: ClassVar = {"imagecode-0": Size(10_000, 2000)}
    files: ClassVar = {"train": ("train_data.json",), "test": ("valid_data.json",)}

    def entries(self, path: Path) -> Iterator[Entry]:
        """Group: the video, of which there may be several sets."""
        for name, described in json_object(str(path), read_regular(path, MOST_JSON_BYTES)).items():
            where = f"{path}, set {name[:80]!r}"
            if not isinstance(described, dict):
                raise DrakeError(f"{where} holds {type(described).__name__} where descriptions by number belong.")
            for number, description in described.items():
                if number not in map(str, range(SET)):
                    raise DrakeError(f"{where} describes a picture {number[:20]!r}; its pictures are 0 to {SET - 1}.")
                if not isinstance(description, str) or not description.strip():
                    raise DrakeError(f"{where}: its picture {number} has no description.")
                values = {"set": name, "number": int(number), "text": description.strip().replace(IMAGE_MARK, "image")}
                yield Entry(where, values, (re.sub(r"-shot\d+_\d+$", "", name),))

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each description."""
        for entry in entries:
            right = entry.values["number"]
            wrong = rng.sample([number for number in range(SET) if number != right], len(IMAGES) - 1)
            shown = shuffled([str(number) for number in (right, *wrong)], rng)
            pictures = tuple((f"image-sets/{entry.values['set']}/img{number}.jpg",) for number in shown)
            prompt = ask(QUESTION, f"Description: {entry.values['text']}\n{LISTED}", choices=IMAGES)
            yield Draft(entry.where, prompt, pictures, IMAGES, IMAGES[shown.index(str(right))])

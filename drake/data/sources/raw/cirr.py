"""CIRR: does a caption describe the change from one photograph to another?

    CIRR/captions/cap.rc2.train.json, cap.rc2.val.json           [{reference, target_hard, caption, img_set: {members}}]
    CIRR/image_splits/split.rc2.train.json, split.rc2.val.json   {picture id: "./dev/dev-244-0-img0.png"}
    CIRR/images/dev/dev-244-0-img0.png                           pictures are those of NLVR2

Every second record is false: in turn with the pictures exchanged, and with another picture of the same set as target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, ClassVar

from drake.data.sources.files import read_regular
from drake.data.sources.raw.dataset import (
    TRUE_FALSE,
    Draft,
    Entry,
    RawDataset,
    Size,
    ask,
    json_object,
    text_of,
    value_of,
)
from drake.data.sources.tables import MOST_JSON_BYTES, Row
from drake.errors import DrakeError

INSTRUCTIONS = (
    "Does the caption describe how to get from the reference image to the target image?",
    "Decide whether changing the reference image as the caption says gives the target image.",
    "Is the caption a correct description of the difference between the two images?",
)


class CIRR(RawDataset):
    """Train records of its train part, test records of its validation part; the test part has no targets."""

    name = "CIRR"
    licence = "MIT (annotations); pictures are those of NLVR2, not licensed"
    sizes: ClassVar = {"CIRR-0": Size(4000, 1000)}
    files: ClassVar = {"train": ("captions/cap.rc2.train.json",), "test": ("captions/cap.rc2.val.json",)}

    def entries(self, path: Path) -> Iterator[Entry]:
        """Groups: the set of similar pictures and all its members."""
        places = self._places(path)
        for row in self.rows(path):
            members = self._members(row)
            reference, target = text_of(row, "reference"), text_of(row, "target_hard")
            wrong = [name for name in members if name not in (reference, target)]
            values = {
                "caption": text_of(row, "caption"),
                "reference": self._picture(row, places, reference),
                "target": self._picture(row, places, target),
                "wrong": [self._picture(row, places, name) for name in wrong],
            }
            yield Entry(row.where, values, (*members, reference, target))

    def _members(self, row: Row) -> list[str]:
        value = value_of(row, "img_set")
        members: Any = value.get("members") if isinstance(value, dict) else None
        if not isinstance(members, list) or len(members) < 3 or not all(isinstance(name, str) for name in members):
            raise DrakeError(f"{row.where}: its 'img_set' must hold 'members', a list of at least three picture ids.")
        return members

    def _places(self, path: Path) -> dict[str, Any]:
        part = path.name.removeprefix("cap.rc2.").removesuffix(".json")
        file = self.folder / "image_splits" / f"split.rc2.{part}.json"
        if not file.is_file():
            raise DrakeError(
                f"there is no file {file}, which says where the pictures of {path.name} lie; put it there."
            )
        (found,) = self._found(f"image_splits/{file.name}")
        return json_object(str(found), read_regular(found, MOST_JSON_BYTES))

    def _picture(self, row: Row, places: dict[str, Any], name: str) -> tuple[str, ...]:
        place = places.get(name)
        if not isinstance(place, str):
            raise DrakeError(f"{row.where}: its picture {name[:80]!r} is not in image_splits/.")
        parts = PurePosixPath(place).parts  # "./dev/..." begins with nothing
        return (PurePosixPath("images", *parts).as_posix() if not place.startswith("/") else place,)

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each caption."""
        for number, entry in enumerate(entries):
            values = entry.values
            pictures = (values["reference"], values["target"])
            if number % 4 == 1:
                pictures = pictures[::-1]
            elif number % 4 == 3:
                pictures = (values["reference"], rng.choice(values["wrong"]))
            images = f"Reference Image:<image> Target Image:<image> Caption: {values['caption']}"
            prompt = ask(INSTRUCTIONS[number % len(INSTRUCTIONS)], images, choices=TRUE_FALSE)
            yield Draft(entry.where, prompt, pictures, TRUE_FALSE, TRUE_FALSE[number % 2])

"""IRFL: pictures of idioms, metaphors and similes.

    IRFL/idioms_dataset.csv, metaphors_dataset.csv, similes_dataset.csv    uuid, phrase, category, definition (idioms)
    IRFL/images/UUID.jpg (or .jpeg, .png, .webp), of IRFL_images.zip

A picture stands for its phrase where its category is Figurative or Figurative+Literal. Phrases are in train or in test,
with all their pictures.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar

from drake.data.sources.raw.dataset import (
    IMAGES,
    TRUE_FALSE,
    Draft,
    Entry,
    Picture,
    RawDataset,
    Size,
    ask,
    listable,
    others,
    shuffled,
    text_of,
)
from drake.data.sources.tables import Row
from drake.errors import DrakeError

FIGURATIVE = ("figurative", "figurative+literal", "figurative literal")
LITERAL = ("literal", "partial literal")
KINDS = {"idioms_dataset.csv": "idiom", "metaphors_dataset.csv": "metaphor", "similes_dataset.csv": "simile"}
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", "")
VERIFY = "Decide whether the statement about the image is true."
SELECT = 'Which of the images expresses the meaning of the {kind} "{phrase}"{meaning}?'
NAME = "Choose the phrase whose meaning the image expresses."
LISTED = ", ".join(f"{name}: <image>" for name in IMAGES)


class IRFL(RawDataset):
    """Verification (0), selection of a picture for an idiom (1), for a metaphor or simile (2), of a phrase (3)."""

    name = "IRFL"
    licence = "CC-BY-4.0 (hub tag); pictures of the web, rights unstated"
    sizes: ClassVar = {
        "IRFL-0": Size(5000, 1000),
        "IRFL-1": Size(5000, 1000),
        "IRFL-2": Size(10_000, 1000),
        "IRFL-3": Size(10_000, 2000),
    }
    files: ClassVar = {"train": tuple(KINDS), "test": ()}

    def entries(self, path: Path) -> Iterator[Entry]:
        """Groups: the phrase and the picture."""
        for row in self.rows(path):
            phrase, uuid, category = text_of(row, "phrase"), text_of(row, "uuid"), text_of(row, "category").lower()
            values = {
                "phrase": phrase,
                "kind": KINDS[path.name],
                "meaning": _meaning(row) if KINDS[path.name] == "idiom" else "",
                "figurative": category in FIGURATIVE,
                "literal": category in LITERAL,
                "picture": tuple(f"images/{uuid}{ending}" for ending in ENDINGS),
            }
            if values["figurative"] or values["literal"]:
                yield Entry(row.where, values, (f"phrase {phrase.lower()}", f"picture {uuid}"))

    def of_task(self, task: str, entries: Sequence[Entry]) -> list[Entry]:
        """Figurative pictures of the task's kinds of phrases."""
        kinds = {"IRFL-1": ("idiom",), "IRFL-2": ("metaphor", "simile")}.get(task, tuple(KINDS.values()))
        return [entry for entry in entries if entry.values["figurative"] and entry.values["kind"] in kinds]

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each figurative picture for which enough others are found."""
        make = {"IRFL-0": self._verify, "IRFL-3": self._name}.get(task, self._select)
        literal: dict[str, list[Entry]] = {}
        for entry in pool:
            if entry.values["literal"]:
                literal.setdefault(entry.values["phrase"], []).append(entry)
        figurative = self.of_task(task, pool)
        for number, entry in enumerate(entries):
            draft = make(number, entry, figurative, literal, rng)
            if draft is not None:
                yield draft

    def _verify(
        self, number: int, entry: Entry, pool: Sequence[Entry], literal: dict[str, list[Entry]], rng: Random
    ) -> Draft | None:
        """Every second statement is false: its picture is that of another phrase of the same kind."""
        values, picture = entry.values, entry.values["picture"]
        if number % 2:
            strange = [e for e in pool if e.values["kind"] == values["kind"] and e.values["phrase"] != values["phrase"]]
            if not strange:
                return None
            picture = rng.choice(strange).values["picture"]
        meaning = f", which has figurative meaning of {values['meaning']}" if values["meaning"] else ""
        said = f'The image represents the {values["kind"]} "{values["phrase"]}"{meaning}.'
        return Draft(
            entry.where,
            ask(f"{VERIFY}\n<image>\n{said}", choices=TRUE_FALSE),
            (picture,),
            TRUE_FALSE,
            TRUE_FALSE[number % 2],
        )

    def _select(
        self, number: int, entry: Entry, pool: Sequence[Entry], literal: dict[str, list[Entry]], rng: Random
    ) -> Draft | None:
        """Wrong pictures show the phrase literally, as many as there are up to three; others are of other phrases."""
        values = entry.values
        own = literal.get(values["phrase"], [])
        wrong = rng.sample(own, min(len(own), len(IMAGES) - 1))
        strange = [e for e in pool if e.values["phrase"] != values["phrase"]]
        wrong += rng.sample(strange, min(len(strange), len(IMAGES) - 1 - len(wrong)))
        if len(wrong) < len(IMAGES) - 1:
            return None
        shown: list[Picture] = [entry.values["picture"], *(other.values["picture"] for other in wrong)]
        order = rng.sample(range(len(IMAGES)), len(IMAGES))
        meaning = f", which means {values['meaning']}" if values["meaning"] else ""
        question = SELECT.format(kind=values["kind"], phrase=values["phrase"], meaning=meaning)
        pictures = tuple(shown[place] for place in order)
        return Draft(entry.where, ask(question, LISTED, choices=IMAGES), pictures, IMAGES, IMAGES[order.index(0)])

    def _name(
        self, number: int, entry: Entry, pool: Sequence[Entry], literal: dict[str, list[Entry]], rng: Random
    ) -> Draft | None:
        """Wrong phrases are drawn from those of the same kind, of all kinds where there are too few."""
        values = entry.values
        phrases = [e.values["phrase"] for e in pool if e.values["kind"] == values["kind"]]
        wrong = others(values["phrase"], [phrase for phrase in phrases if listable(phrase)], len(IMAGES) - 1, rng)
        if len(wrong) < len(IMAGES) - 1:
            phrases = [e.values["phrase"] for e in pool]
            wrong = others(values["phrase"], [phrase for phrase in phrases if listable(phrase)], len(IMAGES) - 1, rng)
        if not wrong or not listable(values["phrase"]):
            return None
        choices = shuffled((values["phrase"], *wrong), rng)
        prompt = ask(f"{NAME}\n<image>\nWhat does the image represent?", choices=choices)
        return Draft(entry.where, prompt, (values["picture"],), choices, values["phrase"])


def _meaning(row: Row) -> str:
    """The first definition, which stands alone or in a list written as Python writes it; "" if there is none."""
    if not str(row.values.get("definition") or "").strip():
        return ""
    text = text_of(row, "definition")
    if not text.startswith("["):
        return text.rstrip(".")
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DrakeError(f"{row.where}: its 'definition' begins like a list and is none.") from error
    return next((str(one).strip().rstrip(".") for one in found if str(one).strip()), "")

"""The licences of a built dataset: of the whole and by source data set, as its croissant.json states them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from drake.catalog import tasks as catalog_tasks
from drake.catalog.licences import Commercial, commercial_use
from drake.common.files import read_json_object
from drake.errors import DrakeError

FILE = "croissant.json"


class Licences(NamedTuple):
    """whole: the licence of the whole dataset. by_source: by source data set, where they differ."""

    whole: str
    by_source: dict[str, str]

    def of(self, source: str) -> tuple[str, Commercial]:
        """(licence, whether it allows commercial use) of a source data set."""
        licence = self.by_source.get(source, self.whole)
        return licence, commercial_use_of(source, licence)


def commercial_use_of(source: str, licence: str) -> Commercial:
    """Whether a source's licence allows commercial use. The catalog is asked if the licence is described as there."""
    for task in catalog_tasks().values():
        if (task.source, task.licence) == (source, licence):
            return task.commercial
    return commercial_use(licence)


def stored_licences(folder: Path) -> Licences:
    """The licences of a dataset folder; "unknown" where none is stated."""
    try:
        found = read_json_object(folder / FILE).get("license")
    except DrakeError:
        found = None
    texts = [str(text)[:10_000] for text in (found if isinstance(found, list) else [found]) if text]
    by_source = dict(text.split(": ", 1) for text in texts[1:] if ": " in text)
    return Licences(texts[0] if texts else "unknown", by_source)

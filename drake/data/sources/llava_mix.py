"""LLaVA-1.5's fine-tuning mix as public records: `drake eval --public llava-mix:FOLDER`.

    FOLDER/llava_v1_5_mix665k.json        a list of {id, image: path (absent for text alone), conversations: turns}
    FOLDER/coco/train2017/...  gqa/images/...  ocr_vqa/images/...  textvqa/train_images/...  vg/VG_100K/, VG_100K_2/

Where the file of that name is missing, its shuffled form llava_v1_5_mix665k_mixed.json is read; another name is given
as llava-mix:FOLDER/FILE.json. Paths of pictures are relative to the folder.

A public record is the first question with the first answer, as in the official code: of the turns, those before the
first human one and all after its answer are left out. Records without a question and an answer are left out too.
The file has 665,000 records and its pictures take more than a hundred gigabytes, so a run draws a sample (by default of
5,000) and reads no other picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from drake.data.manifest import sha256
from drake.data.oracle import IMAGE_MARK, check_answer, check_text
from drake.data.record import PUBLIC, Record
from drake.data.sources.base import Source, Split, reservoir
from drake.data.sources.files import MOST_RECORD_BYTES, Pictures, check_regular
from drake.data.sources.json_stream import items
from drake.errors import DrakeError

FILES = ("llava_v1_5_mix665k.json", "llava_v1_5_mix665k_mixed.json")
"""The names that the file of records may have in a folder."""


class LlavaMixSource(Source):
    """Public records alone: no task and no client."""

    kind = "llava-mix"
    wants_argument = "the folder of LLaVA-1.5's fine-tuning mix, or its JSON file"
    has_public = True

    name = "LLaVA-1.5 fine-tuning mix"
    licence = "other"
    about = (
        "Public records are the first turns of LLaVA-1.5's fine-tuning mix; texts and pictures belong to its sources "
        "and carry their licences."
    )

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        path = Path(str(self.argument)).expanduser()
        found = [path] if path.is_file() else [path / name for name in FILES if (path / name).exists()]
        if not found:
            raise DrakeError(
                f"{path} holds no {FILES[0]}, which lists the records of LLaVA's fine-tuning mix; name the folder that "
                "has it beside coco/, gqa/, ocr_vqa/, textvqa/ and vg/, or the file itself."
            )
        self._file = found[0]
        self._pictures = Pictures(self._file.resolve().parent, hint="fetch the pictures of its source data set")

    @property
    def revision(self) -> str:
        """ "sha256:" and the hash of the file of records."""
        return f"sha256:{self._digest}"

    @cached_property
    def _digest(self) -> str:
        check_regular(self._file, MOST_RECORD_BYTES)
        return sha256(self._file)

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """None: all records are public."""
        return {}

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """There are none."""
        return iter(())

    def public_records(self) -> Iterator[Record]:
        """All records, in the order of the file; DrakeError for one that cannot be used, such as a missing picture."""
        yield from self._read(self._usable())

    def public_sample(self, most: int, rng: Random) -> Iterator[Record]:
        """The same for a sample, whose pictures alone are read."""
        yield from self._read(reservoir(self._usable(), most, rng))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder has the file of records."""
        return path.name in FILES if path.is_file() else any((path / name).is_file() for name in FILES)

    def _read(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Record]:
        for number, row in rows:
            try:
                yield self._record(number, row)
            except DrakeError as error:
                self.on_bad_record(error)

    def _usable(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(place in the file, record) of those with a question and an answer."""
        check_regular(self._file, MOST_RECORD_BYTES)
        for number, row in enumerate(items(self._file)):
            if not isinstance(row, dict):
                raise DrakeError(f"{self._where(number)} is no JSON object, so the file is no mix of LLaVA.")
            if first_turn(row) is not None:
                yield number, row

    def _record(self, number: int, row: Mapping[str, Any]) -> Record:
        where, turn = self._where(number), first_turn(row)
        assert turn is not None  # `_usable` leaves out the others
        prompt, answer = turn
        for name, text in (("question", prompt), ("answer", answer)):
            check_text(f"{where}: its {name}", text)
        check_answer(where, answer)
        picture = row.get("image")
        if picture is not None and not isinstance(picture, str):
            raise DrakeError(f"{where}: its 'image' must be one path.")
        marks, pictures = prompt.count(IMAGE_MARK), int(picture is not None)
        if marks != pictures:
            raise DrakeError(f"{where}: its first question has {marks} {IMAGE_MARK} for {pictures} images.")
        return Record(
            id=f"{PUBLIC}/llava-mix/{number:06d}",
            task=PUBLIC,
            source="text" if picture is None else picture.partition("/")[0],
            category=PUBLIC,
            images=() if picture is None else (self._pictures.read(where, picture),),
            prompt=prompt,
            choices=(),
            answer=answer,
            metric="token-F1",
        )

    def _where(self, number: int) -> str:
        return f"{self._file}, record {number} (counted from 0)"


def first_turn(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first human turn and the answer that follows it; None where either is missing or blank."""
    turns = row.get("conversations")
    spoken = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    for turn, reply in pairwise(spoken):
        if turn.get("from") == "human":
            texts = turn.get("value"), reply.get("value")
            if reply.get("from") != "gpt" or not all(isinstance(text, str) and text.strip() for text in texts):
                return None
            return str(texts[0]), str(texts[1])
    return None

"""The official release, as an extracted folder: `drake build --source release:PATH`.

    <dataset>/<any folder>/<picture>
    <dataset>/train/dataset-<k>.json      a list of {id, image: path or [paths], conversations: [human, gpt]}
    <dataset>/test/dataset-<k>.json

all of it in a folder called `dataset`; paths of pictures are relative to the parent of that folder. A release is
untrusted input: every error names the file and the record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from drake.catalog import tasks as catalog_tasks
from drake.data.choices import record_choices, wins
from drake.data.manifest import sha256
from drake.data.oracle import IMAGE_MARK, check_answer, check_pictures, check_text
from drake.data.record import Record
from drake.data.sources.base import Source, Split
from drake.data.sources.files import MOST_RECORD_BYTES, Pictures, check_regular, read_regular
from drake.errors import DrakeError

SPLITS: tuple[Split, ...] = ("train", "test")

RecordFiles = dict[str, dict[Split, Path]]
"""Record files by task id, then by split."""


class ReleaseSource(Source):
    """A folder in the layout of the official release: the one that holds `dataset/`, or the dataset folder itself.

    Pictures keep the bytes of their files; each is decoded once to check it. Source, category and metric of a task come
    from the catalog; for a task that the catalog lacks, the category is "" and the metric is derived from the prompts
    (`task_metric`).
    """

    kind = "release"
    wants_argument = "the folder of the official release"

    name = "DRAKE release"
    licence = "other"

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        self._dataset = _dataset_folder(Path(str(self.argument)).expanduser())
        self._pictures = Pictures(self._dataset, "dataset/", "extract the release again")
        self.about = (
            "Its records come from a copy of the official release; pictures and texts belong to the sources named "
            "below and carry their licences, some of which forbid commercial use or passing them on. "
            f"Schedules: seed {seed}."
        )

    @cached_property
    def files(self) -> RecordFiles:
        """The record files by task id ("NLVR2-0") and split, sorted."""
        found: RecordFiles = {}
        for path in self._dataset.glob("*/*/dataset-*.json"):
            number = re.fullmatch(r"dataset-(\d+)\.json", path.name)
            for split in SPLITS:
                if number and path.parent.name == split:
                    found.setdefault(f"{path.parent.parent.name}-{number[1]}", {})[split] = path
        return {task: {s: found[task][s] for s in SPLITS if s in found[task]} for task in sorted(found)}

    @property
    def revision(self) -> str:
        """ "sha256:" and a hash over the names and hashes of the record files."""
        files = sorted(path for splits in self.files.values() for path in splits.values())
        for path in files:
            check_regular(path, MOST_RECORD_BYTES)
        try:
            lines = "\n".join(f"{path.relative_to(self._dataset).as_posix()} {sha256(path)}" for path in files)
        except OSError as error:
            raise DrakeError(f"{error.filename} cannot be read ({error.strerror}); check its permissions.") from error
        return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()

    @property
    def licences(self) -> dict[str, str]:
        """Licence by source data set, from the catalog."""
        known = catalog_tasks()
        return {_source_of(task): known[task].licence if task in known else "unknown" for task in self.files}

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The tasks with record files; DrakeError for one with train records and no test records."""
        for task, splits in self.files.items():
            if "test" not in splits:
                raise DrakeError(f"task {task} of {self.argument} has train records but no test/ file; it needs both.")
        return {task: tuple(splits) for task, splits in self.files.items()}

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of one file, in its order; DrakeError for the first fault."""
        path = self.files[task][split]
        rows = _read_list(path)
        category, metric = self._kind(task)
        for index, row in enumerate(rows):
            try:
                prompt, answer = _turns(path, index, row)
                yield Record(
                    id=f"{task}/{split}/{index:06d}",
                    task=task,
                    source=_source_of(task),
                    category=category,
                    images=self._images(_where(path, index), row, prompt),
                    prompt=prompt,
                    choices=record_choices(prompt, answer) if metric == "accuracy" else (),
                    answer=answer,
                    metric=metric,
                )
            except DrakeError as error:
                self.on_bad_record(error)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the folder has record files where a release has them."""
        return path.is_dir() and _holds_records(path) is not None

    def _kind(self, task: str) -> tuple[str, str]:
        """(category, metric) of a task."""
        if (known := catalog_tasks().get(task)) is not None:
            return known.category or "", known.metric
        if task not in self._metrics:
            turns: dict[Split, list[tuple[str, str]]] = {}
            for split, path in self.files[task].items():
                turns[split] = []
                for index, row in enumerate(_read_list(path)):
                    with suppress(DrakeError):  # `records` reports the same record
                        turns[split].append(_turns(path, index, row))
            self._metrics[task] = task_metric(task, turns)
        return "", self._metrics[task]

    @cached_property
    def _metrics(self) -> dict[str, str]:
        return {}

    def _images(self, where: str, row: Mapping[str, Any], prompt: str) -> tuple[bytes, ...]:
        """The pictures of a record; DrakeError unless its prompt has as many marks."""
        named = row.get("image", [])
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DrakeError(f"{where}: 'image' must be a path or a list of paths.")
        check_pictures(where, len(names))
        if (marks := prompt.count(IMAGE_MARK)) != len(names):
            raise DrakeError(f"{where}: the prompt has {marks} {IMAGE_MARK} for {len(names)} images.")
        return tuple(self._pictures.read(where, name) for name in names)


def task_metric(task: str, turns: Mapping[Split, Sequence[tuple[str, str]]]) -> str:
    """The metric of a task that the catalog lacks, from its (prompt, answer) pairs by split: "accuracy" if most prompts
    offer choices with the answer among them, otherwise "token-F1".

    Raises DrakeError if the splits differ widely, since training and test would then be different tasks.
    """
    offered = {split: [wins(record_choices(*turn), turn[1], turn[0]) for turn in turns[split]] for split in turns}
    shares = {split: sum(answers) / len(answers) for split, answers in offered.items() if answers}
    if shares and max(shares.values()) - min(shares.values()) > 0.5:
        parts = " and ".join(f"{share:.0%} of the {split} prompts" for split, share in shares.items())
        raise DrakeError(
            f"task {task}: {parts} offer choices with the answer among them, so it is unclear how to score it; "
            "correct the prompts."
        )
    all_offered = [answer for answers in offered.values() for answer in answers]
    return "accuracy" if 2 * sum(all_offered) > len(all_offered) else "token-F1"


def release_records(folder: Path) -> Iterator[tuple[str, Record]]:
    """(split, record) of every task of a release, task by task, train before test, in the order of the files."""
    return ReleaseSource(str(folder)).all_records()


def _source_of(task: str) -> str:
    return task.rpartition("-")[0]


def _holds_records(folder: Path) -> Path | None:
    for candidate in (folder / "dataset", folder):
        if any(candidate.glob("*/train/dataset-*.json")) or any(candidate.glob("*/test/dataset-*.json")):
            return candidate.resolve()
    return None


def _dataset_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise DrakeError(f"there is no folder {folder}; give the folder that holds the release's dataset/.")
    if found := _holds_records(folder):
        return found
    raise DrakeError(
        f"{folder} is not laid out as the official release: it holds no dataset/<name>/train/dataset-<k>.json; "
        "extract the release there, or give the folder that holds its dataset/."
    )


def _read_list(path: Path) -> list[Any]:
    content = read_regular(path, MOST_RECORD_BYTES)
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        lines = ", a file of JSON Lines perhaps; a release holds one list of records" if _is_json_lines(content) else ""
        raise DrakeError(f"{path} is not valid JSON ({error}){lines or '; fetch it again'}.") from error
    if not isinstance(rows, list):
        raise DrakeError(f"{path} holds a JSON {type(rows).__name__} where a list of records belongs.")
    return rows


def _is_json_lines(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content.split(b"\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _where(path: Path, index: int) -> str:
    return f"{path}, record {index} (counted from 0)"


def _turns(path: Path, index: int, row: Any) -> tuple[str, str]:
    """The one question and the one answer of a record."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        turns = []
    speakers = [turn.get("from") if isinstance(turn, dict) else None for turn in turns]
    where = _where(path, index)
    if speakers != ["human", "gpt"] or not all(isinstance(turn.get("value"), str) for turn in turns):
        raise DrakeError(f"{where}: 'conversations' must be one turn from human and one from gpt, each with a text.")
    prompt, answer = turns[0]["value"], turns[1]["value"]
    for name, text in (("prompt", prompt), ("answer", answer)):
        check_text(f"{where}: its {name}", text)
    check_answer(where, answer)
    return prompt, answer

"""A user's own data: `drake build --source PATH` for a folder with a drake.toml, or --source folder:FILE.toml.

`folder_config` is the schema of the TOML file, `tables` reads rows; here rows become records. All paths, in the TOML
file and in rows, are relative to the TOML file's folder and must stay inside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drake.catalog.licences import commercial_use
from drake.common.seeds import python_random
from drake.data.manifest import check_clients, sha256
from drake.data.oracle import IMAGE_MARK, check_answer, check_pictures, check_text
from drake.data.record import PUBLIC, Record
from drake.data.sources import folder_config
from drake.data.sources.base import Source, Split, TaskLicence
from drake.data.sources.files import Pictures, check_picture, inside
from drake.data.sources.folder_config import FILE, FolderConfig, PublicTable, TaskTable, read_config
from drake.data.sources.tables import Row, file_rows, hub_rows
from drake.errors import DrakeError

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class FolderOptions:
    """links_to: a folder that links to pictures may lead to, on another disk for instance."""

    links_to: str | None = None


class FolderSource(Source):
    """Records of JSON Lines, JSON, CSV, Parquet or Hugging Face datasets; a TOML file maps their columns."""

    kind = "folder"
    wants_argument = "a folder with a drake.toml, or a TOML file"
    Options = FolderOptions

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(argument, seed=seed, **options)
        path = Path(str(self.argument)).expanduser()
        self._file = path / FILE if path.is_dir() else path
        self._root = self._file.resolve().parent
        links_to = [Path(self.options.links_to)] if self.options.links_to else []
        self._pictures = Pictures(self._root, links_to=links_to)
        self.config: FolderConfig = read_config(self._file)
        self.name, self.licence, self.about = self.config.name, self.config.licence, self.config.about
        self.responsible_ai = self.config.responsible_ai
        self.has_public = self.config.public is not None
        if self.config.clients is not None:
            try:
                check_clients(self.config.clients, self.config.tasks)
            except ValueError as error:
                raise DrakeError(f"{self._file}: clients: {error}.") from error
        for task, table in self.config.tasks.items():
            _check_template(f"{self._file}: tasks.{task}", table)
            self._files(table)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """A folder with a drake.toml, or a TOML file."""
        return (path / FILE).is_file() if path.is_dir() else path.suffix == ".toml"

    @property
    def parameters(self) -> dict[str, Any]:
        """None: where the pictures were does not belong to the dataset."""
        return {}

    @property
    def default_name(self) -> str:
        """The dataset's name in lower case, with hyphens for other characters."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or self.kind

    @property
    def revision(self) -> str:
        """ "sha256:" and a hash over the TOML file, the record files, and the revisions of Hugging Face datasets."""
        lines = [sha256(self._file)]
        for table in self._tables():
            lines += [f"{path.relative_to(self._root)} {sha256(path)}" for path in self._files(table)]
            if table.dataset:
                lines.append(f"{table.dataset} {table.config} {table.revision}")
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def clients(self) -> tuple[tuple[str, ...], ...] | None:
        """The clients of the TOML file; None if it has none."""
        return self.config.clients

    @property
    def licences(self) -> Mapping[str, str]:
        """The licences of tasks that have their own, by source data set."""
        return {_source_of(task, table): table.licence for task, table in self.config.tasks.items() if table.licence}

    def licence_of(self, task: str) -> TaskLicence:
        """The licence of the task's table, or of the whole file."""
        licence = self.config.tasks[task].licence or self.licence
        return TaskLicence(licence, commercial_use(licence))

    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """The tasks of the TOML file, sorted."""
        return {task: _splits(self.config.tasks[task]) for task in sorted(self.config.tasks)}

    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a split, numbered in the order of the files."""
        table = self.config.tasks[task]
        rows = self._rows(task, table, split)
        yield from self._mapped(rows, table, f"{task}/{split}", task, _source_of(task, table), table.category)

    def public_records(self) -> Iterator[Record]:
        """The public records of the TOML file."""
        table = self.config.public
        if table is None:
            return
        rows = self._hub(table, table.split) if table.dataset else self._read(self._files(table))
        source = table.source or PUBLIC
        yield from self._mapped(rows, table, f"{PUBLIC}/{source}", PUBLIC, source, PUBLIC)

    def _mapped(
        self, rows: Iterable[Row], table: folder_config.Mapping, prefix: str, task: str, source: str, category: str
    ) -> Iterator[Record]:
        for number, row in enumerate(rows):
            try:
                choices = _choices(row, table)
                images = self._images(row, table)
                filled = {"choices": ", ".join(choices), "images": IMAGE_MARK * len(images)}
                prompt = _filled(row, table.prompt, filled)
                template = table.answer if "{" in table.answer else f"{{{table.answer}}}"
                answer = _filled(row, template, {})
                for what, text in (("prompt", prompt), ("answer", answer)):
                    check_text(f"{row.where}: its {what}", text)
                check_answer(row.where, answer)
                if (marks := prompt.count(IMAGE_MARK)) != len(images):
                    raise DrakeError(
                        f"{row.where}: its prompt has {marks} {IMAGE_MARK} for {len(images)} pictures; put {{images}} "
                        "into the template, and no mark into the texts."
                    )
                yield Record(
                    f"{prefix}/{number:06d}", task, source, category, images, prompt, choices, answer, table.scored_by
                )
            except DrakeError as error:
                self.on_bad_record(error)

    def _images(self, row: Row, table: folder_config.Mapping) -> tuple[bytes, ...]:
        found: list[Any] = []
        for column in table.images:
            value = _value(row, column)
            found += value if isinstance(value, list) else [value]
        check_pictures(row.where, len(found))
        return tuple(self._image(row, image) for image in found)

    def _image(self, row: Row, image: Any) -> bytes:
        if isinstance(image, dict):  # as `datasets` keeps an encoded picture
            image = image.get("bytes") or image.get("path")
        if isinstance(image, bytes):
            check_picture(f"{row.where}: its image", image)
            return image
        if not isinstance(image, str):
            raise DrakeError(f"{row.where}: its image is {type(image).__name__}, neither a path nor bytes.")
        path = Path(image)
        if row.from_dataset and path.is_relative_to(self._root):  # `datasets` gives absolute paths
            image = str(path.relative_to(self._root))
        return self._pictures.read(row.where, image)

    def _rows(self, task: str, table: TaskTable, split: Split) -> Iterator[Row]:
        named = table.train if split == "train" else table.test
        if table.dataset and (named or table.test):
            for name in named:
                yield from self._hub(table, name)
        elif named:
            yield from self._read([self._path(name) for name in named])
        elif table.split_column is not None:
            yield from (row for row in self._pool(table) if _value(row, table.split_column) == split)
        else:
            test = self._drawn_test_rows(task, table)
            yield from (row for index, row in enumerate(self._pool(table)) if (index in test) == (split == "test"))

    def _pool(self, table: TaskTable) -> Iterator[Row]:
        """The rows of both splits together."""
        if table.dataset:
            for name in table.train or ("train",):
                yield from self._hub(table, name)
        else:
            yield from self._read(self._files(table))

    def _drawn_test_rows(self, task: str, table: TaskTable) -> set[int]:
        """The indices of the pool's rows that become test records, drawn with the seed; at least one."""
        if task not in self._drawn:
            size = sum(1 for _ in self._pool(table))
            count = max(1, round(size * (table.test_fraction or 0)))
            if count >= size:
                raise DrakeError(f"task {task} has {size} rows, too few to draw test records from; add more.")
            self._drawn[task] = set(python_random(self.seed, "folder", "test", task).sample(range(size), count))
        return self._drawn[task]

    @cached_property
    def _drawn(self) -> dict[str, set[int]]:
        return {}

    def _read(self, paths: Iterable[Path]) -> Iterator[Row]:
        for path in paths:
            yield from file_rows(path)

    def _hub(self, table: folder_config.Mapping, split: str) -> Iterator[Row]:
        assert table.dataset is not None
        local = self._root / table.dataset
        path = str(self._path(table.dataset)) if local.exists() else table.dataset
        if Path(table.dataset).is_absolute() or table.dataset.startswith("."):
            raise DrakeError(f"{self._file}: the dataset {table.dataset!r} is neither below the folder nor on the Hub.")
        return hub_rows(path, table.config, split, table.revision)

    def _files(self, table: folder_config.Mapping) -> list[Path]:
        """The record files of a table."""
        names = list(table.files)
        if isinstance(table, TaskTable) and not table.dataset:
            names += [*table.train, *table.test]
        return [self._path(name) for name in names]

    def _path(self, name: str) -> Path:
        try:
            path = inside(self._root, name)
        except ValueError as error:
            raise DrakeError(f"{self._file}: {error}; files must lie below it.") from error
        if not path.exists():
            raise DrakeError(f"{self._file}: there is no file {name!r} below {self._root}; correct the path.")
        return path

    def _tables(self) -> list[TaskTable | PublicTable]:
        tables: list[TaskTable | PublicTable] = list(self.config.tasks.values())
        return [*tables, self.config.public] if self.config.public else tables


def _source_of(task: str, table: TaskTable) -> str:
    return table.source or re.sub(r"-\d+$", "", task)


def _splits(table: TaskTable) -> tuple[Split, ...]:
    unseen = not table.train and bool(table.test)
    return ("test",) if unseen else ("train", "test")


def _check_template(where: str, table: folder_config.Mapping) -> None:
    for match in _PLACEHOLDER.finditer(table.prompt):
        if match[0] in ("{", "}"):
            raise DrakeError(f"{where}: the prompt has a single {match[0]!r}; write {match[0] * 2} for a brace.")
        if match[1] == "choices" and not table.choices:
            raise DrakeError(f"{where}: the prompt has {{choices}}, but the table names no `choices`.")


def _filled(row: Row, template: str, given: Mapping[str, str]) -> str:
    """The template with every {column} replaced by its value; placeholders inside values are not replaced."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        name = match[1] or ""
        return given[name] if name in given else _text(row, name)

    return _PLACEHOLDER.sub(replaced, template)


def _value(row: Row, column: str) -> Any:
    if column not in row.values:
        from difflib import get_close_matches

        near = get_close_matches(column, list(row.values), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(str, row.values)) or 'none'}."
        raise DrakeError(f"{row.where} has no column {column!r}; {hint}")
    return row.values[column]


def _text(row: Row, column: str) -> str:
    return _as_text(row, column, _value(row, column))


def _as_text(row: Row, column: str, value: Any) -> str:
    if not isinstance(value, str | int | float) or value != value:  # NaN is not equal to itself
        shown = "nothing" if value is None else type(value).__name__ if value == value else "NaN"
        raise DrakeError(f"{row.where}: its {column!r} holds {shown} where a text or a number belongs.")
    return str(value)


def _choices(row: Row, table: folder_config.Mapping) -> tuple[str, ...]:
    if table.choices is None:
        return ()
    if not isinstance(table.choices, str):
        return table.choices
    value = _value(row, table.choices)
    if table.separator is not None:
        value = [piece.strip() for piece in _as_text(row, table.choices, value).split(table.separator)]
    if not isinstance(value, list):
        raise DrakeError(
            f"{row.where}: its {table.choices!r} holds no list of choices; give `separator` to cut a text into them."
        )
    return tuple(_as_text(row, table.choices, choice) for choice in value)

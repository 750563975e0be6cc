"""The schema of drake.toml. The source `folder` reads such files; docs/add-a-dataset.md explains them to users.

name = "Street signs"
licence = "cc-by-4.0"
clients = [["Signs-0", "Signs-1"], ["Shops-0"]]

[tasks.Signs-0]
train = "signs/train.jsonl"
test = "signs/test.jsonl"
prompt = "{images}\\nWhat does the sign say?\\nChoice list:[{choices}]. Your answer is:"
images = "photo"
choices = "options"
answer = "label"
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from drake.data.croissant import check_field
from drake.data.oracle import check_task_name
from drake.data.record import OF_CHOICES, MetricName
from drake.data.sources.files import read_regular
from drake.errors import DrakeError

FILE = "drake.toml"
MOST_BYTES = 4 << 20
"""Upper limit for the size of a TOML file."""

_Text = Annotated[str, Field(min_length=1, max_length=100_000)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[_Text, ...], BeforeValidator(lambda value: tuple(_listed(value)) if value else value)]
"""One name or a list of names."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Mapping(_Table):
    """How a row becomes a record.

    prompt: a template; {column} is replaced by the row's value, {choices} by the choices with commas between them,
    {images} by one <image> per picture; write {{ and }} for braces. answer: a column, or a template if it has a brace.
    choices: a column that holds a list, or a text to be cut at `separator`, or the list itself, the same for all rows.
    images: columns that hold a path below the folder, a picture's bytes, or a list of these.
    metric: "accuracy" where there are choices, otherwise "token-F1", unless given.
    """

    prompt: _Text
    answer: _Text
    choices: _Text | tuple[_Text, ...] | None = None
    separator: _Text | None = None
    images: Names = ()
    metric: MetricName | None = None
    source: _Text | None = None
    licence: _Text | None = None

    files: Names = ()
    dataset: _Text | None = None
    config: _Text | None = None
    revision: _Text | None = None

    @property
    def scored_by(self) -> str:
        """The metric of the records."""
        return self.metric or ("accuracy" if self.choices else "token-F1")

    @model_validator(mode="after")
    def _mapping_fits(self) -> Mapping:
        if self.separator and not isinstance(self.choices, str):
            raise ValueError("`separator` cuts the text of a column of choices; name that column in `choices`")
        if (self.config or self.revision) and not self.dataset:
            raise ValueError("`config` and `revision` belong to a Hugging Face `dataset`; name one")
        if self.metric in OF_CHOICES and not self.choices:
            raise ValueError(f'the metric "{self.metric}" needs `choices`')
        return self


class TaskTable(Mapping):
    """One task. Its records come from `train` and `test` files, from `files` or from a Hugging Face `dataset`.

    train, test: files of each split; with `dataset`, names of its splits instead. Without `train`, the task is an
    unseen one. files: files that hold both splits, which are told apart by `split_column` (its values are "train" and
    "test"; other rows are left out) or drawn: `test_fraction` of the rows, above 0 and below 1, become test records.
    With `dataset` and no `test`, `test_fraction` is drawn from its `train` split.
    """

    train: Names = ()
    test: Names = ()
    split_column: _Text | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    category: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _splits_fit(self) -> TaskTable:
        one_pool = bool(self.files) or bool(self.dataset and not self.test)
        if self.files and (self.train or self.test or self.dataset):
            raise ValueError("`files` hold both splits; leave out `train`, `test` and `dataset`, or `files`")
        if one_pool and (self.split_column is None) == (self.test_fraction is None):
            raise ValueError("give either `split_column` or `test_fraction`, to tell train from test records")
        if not one_pool and (self.split_column or self.test_fraction):
            raise ValueError("`split_column` and `test_fraction` divide `files`; there are `train` and `test` already")
        if not one_pool and not self.test:
            raise ValueError("there are no test records: give `test`, `files` or `dataset`")
        return self


class PublicTable(Mapping):
    """Public records, from `files` or from the split `split` of a Hugging Face `dataset`."""

    split: _Text = "train"

    @model_validator(mode="after")
    def _one_place(self) -> PublicTable:
        if bool(self.files) == bool(self.dataset):
            raise ValueError("give either `files` or `dataset`")
        return self


class FolderConfig(_Table):
    """The whole file. clients: the tasks of each client in order of arrival; assigned automatically if not given.
    responsible_ai: texts by field of Croissant's responsible-AI vocabulary, such as personalSensitiveInformation."""

    name: _Text
    licence: _Text
    about: Annotated[str, Field(max_length=100_000)] = ""
    clients: tuple[tuple[_Text, ...], ...] | None = None
    tasks: Annotated[dict[str, TaskTable], Field(min_length=1)]
    public: PublicTable | None = None
    responsible_ai: dict[Annotated[str, AfterValidator(check_field)], _Text] = {}


def read_config(path: Path) -> FolderConfig:
    """The validated file; DrakeError, with the nearest key for an unknown one, if it is not valid."""
    if not path.exists():
        raise DrakeError(f"there is no file {path}; write one as docs/add-a-dataset.md shows.")
    try:
        text = read_regular(path, MOST_BYTES).decode()
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DrakeError(f"{path} is not valid TOML ({error}).") from error
    for task in raw.get("tasks", {}) if isinstance(raw.get("tasks"), dict) else ():
        check_task_name(task)
    try:
        return FolderConfig.model_validate(raw)
    except ValidationError as error:
        raise DrakeError(f"{path}: {_sentence(error)}.") from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("str", "tuple[str, ...]")]
    where = ".".join(place)
    if first["type"] == "extra_forbidden":
        table = TaskTable if place[0] == "tasks" else PublicTable if place[0] == "public" else FolderConfig
        known = list(table.model_fields)
        near = get_close_matches(place[-1], known, n=1, cutoff=0.5)
        return f"unknown key {where!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    return f"{where or 'the file'}: {first['msg'].removeprefix('Value error, ')}"

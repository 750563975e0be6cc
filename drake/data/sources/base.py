"""The interface of a source of records: `drake.Source`. `drake.build` turns any source into a dataset folder.

A source is a class with a name, tasks and records. Registered as an entry point of the group "drake.sources", it is
chosen by `drake build --source NAME` or `--source NAME:ARGUMENT`; "package.module:Class" needs no registration.

    class Signs(drake.Source):
        kind, name, licence = "signs", "Street signs", "cc-by-4.0"
        revision = "2024-05"

        def tasks(self):
            return {"Signs-0": ("train", "test")}

        def records(self, task, split):
            for number, row in enumerate(rows_of(task, split)):
                yield Record(f"{task}/{split}/{number:06d}", task, "Signs", "", (row.png,), ...)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from types import UnionType
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_type_hints

from drake.catalog.licences import Commercial, commercial_use
from drake.data.record import PUBLIC, Record
from drake.errors import DrakeError, UnknownName

Split = Literal["train", "test"]
T = TypeVar("T")
Moved = Callable[[int], None]
"""Called with the number of bytes that were read or downloaded since the last call."""


class TaskLicence(NamedTuple):
    """licence: its name or a description. commercial: whether it allows commercial use."""

    licence: str
    commercial: Commercial


@dataclass(frozen=True)
class NoOptions:
    """The options of a source that has none."""


class Stage(ABC):
    """A piece of a source that is built, and kept if the build is stopped, on its own: an archive, for instance.

    source: the source data set that all its tasks belong to; None if there are several, or if it is not known.
    name: shown in progress bars, different for each stage of a source. key: changes when the content does. bytes: what
    is read to build it. download: what has to be downloaded before, in bytes.
    """

    name: str
    key: str
    bytes: int
    download: int = 0
    source: str | None = None

    @abstractmethod
    def opened(self, folder: Path, moved: Moved) -> AbstractContextManager[Source]:
        """A source with the tasks of this stage alone. folder: for downloads; what is in it stays until `clear`."""

    def clear(self, folder: Path) -> None:
        """Delete the downloads; called when the records are stored, and again if a build was stopped just then."""
        return


class Source(ABC):
    """Tasks and their records.

    argument: the text after the colon of `--source NAME:ARGUMENT`, usually a path; None without a colon.
    seed: for sources that draw their records. options: values of the fields of `Options`.

    Construction is cheap and reads no record, but refuses arguments that cannot work with a DrakeError. The same
    arguments must give the same records in the same order, whatever else the process does.
    """

    kind: ClassVar[str]
    """The registered name, which the manifest stores: "mini", "release", "folder"."""
    Options: ClassVar[type] = NoOptions
    """A frozen dataclass of the source's own options, with defaults; its values are stored in the manifest."""
    wants_argument: ClassVar[str | None] = None
    """A description of the argument, for errors ("a folder"); None for a source without one."""

    name: str
    """The dataset's name, for tables."""
    in_stages: ClassVar[bool] = False
    """Whether the source is large: `drake build` then asks for its `stages` and not for all records at once, keeps what
    is finished if it is stopped, and reports its progress in bytes."""
    licence: str
    """Licence of the whole dataset, as the Hugging Face Hub spells it ("apache-2.0", "cc-by-4.0", "other")."""
    about: str = ""
    """The origin of the records, in sentences for the dataset card."""
    responsible_ai: Mapping[str, str] = {}
    """What is known of the data by field of Croissant's responsible-AI vocabulary ("personalSensitiveInformation"; all
    of them in `drake.data.croissant.RESPONSIBLE_AI`). What is left out is said to be not stated."""

    def __init__(self, argument: str | None = None, *, seed: int = 0, **options: Any) -> None:
        if self.wants_argument and not argument:
            raise DrakeError(f"the source {self.kind!r} needs {self.wants_argument}: write {self.kind}:PATH.")
        if argument and not self.wants_argument:
            raise DrakeError(f"the source {self.kind!r} takes no argument; write {self.kind!r}, not {argument!r} too.")
        self.argument, self.seed = argument, seed
        self.options = checked_options(self.Options, self.kind, options)
        self.on_bad_record: Callable[[DrakeError], None] = _raise
        """Called with the error of a record that cannot be read, which is then skipped. By default the error is
        raised; `drake check-source` collects the errors instead."""

    @property
    @abstractmethod
    def revision(self) -> str:
        """The exact version of the source: a commit, or "sha256:" and a hash of the files that it reads."""

    @abstractmethod
    def tasks(self) -> Mapping[str, Sequence[Split]]:
        """Every task by id with the splits it has. A task without train records is an unseen one."""

    @abstractmethod
    def records(self, task: str, split: Split) -> Iterator[Record]:
        """The records of a task's split. A DrakeError about one names its file and its place there."""

    has_public: bool = False
    """Whether there are public records, which belong to no client."""

    def public_records(self) -> Iterator[Record]:
        """The public records: task and category "public", ids that begin with "public/"."""
        return iter(())

    def public_sample(self, most: int, rng: Random) -> Iterator[Record]:
        """At most so many of the public records, in their order. A source with very many overrides this, so that it
        reads the pictures of those alone."""
        return iter(reservoir(self.public_records(), most, rng))

    @property
    def clients(self) -> tuple[tuple[str, ...], ...] | None:
        """The tasks of each client in order of arrival; None to have `drake.data.building.deal_tasks` assign them."""
        return None

    def stages(self) -> Sequence[Stage]:
        """The stages of a source that is built `in_stages`. No task is in two of them."""
        return ()

    @property
    def licences(self) -> Mapping[str, str]:
        """Licence by source data set where they differ; the card lists them."""
        return {}

    def licences_of(self, tasks: Iterable[str]) -> Mapping[str, str]:
        """The same for these tasks, which a source that is built in stages may not know itself."""
        return self.licences

    def licence_of(self, task: str) -> TaskLicence:
        """The licence of a task's records, for `drake build --commercial-only`."""
        return TaskLicence(self.licence, commercial_use(self.licence))

    def all_records(self, workers: int | None = None) -> Iterator[tuple[str, Record]]:
        """(split, record) of all records: task by task, train before test, the public records last.

        workers: processes to use, for sources that compute their records; the number must not change them.
        """
        for task, splits in self.tasks().items():
            for split in splits:
                yield from ((split, record) for record in self.records(task, split))
        if self.has_public:
            yield from ((PUBLIC, record) for record in self.public_records())

    @property
    def parts(self) -> int:
        """The number of splits in `all_records`, the public one included; for progress bars."""
        return sum(map(len, self.tasks().values())) + self.has_public

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the options, for the manifest."""
        return asdict(self.options)

    @property
    def default_name(self) -> str:
        """The name of the folder below data/ that is written if the user gives none."""
        return self.kind

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a path given as `--source PATH`, without a name, is for this source. Must be quick."""
        return False


def reservoir(items: Iterable[T], most: int, rng: Random) -> list[T]:
    """A uniform sample of at most `most` items, in their order, of a stream of any length (Vitter's algorithm R)."""
    kept: list[tuple[int, T]] = []
    for number, item in enumerate(items):
        if number < most:
            kept.append((number, item))
        elif (place := rng.randrange(number + 1)) < most:
            kept[place] = number, item
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]


def checked_options(kind: type, source: str, values: Mapping[str, Any]) -> Any:
    """An instance of the options' dataclass; DrakeError for an unknown option, a wrong type or a refused value.

    A number out of range is refused by the dataclass itself, in `__post_init__`.
    """
    known = {field.name for field in fields(kind)}
    types = get_type_hints(kind)
    for name, value in values.items():
        if name not in known:
            if not known:
                raise DrakeError(f"the source {source!r} has no options, so leave out {name!r}.")
            raise UnknownName(f"option of the source {source!r}", name, sorted(known))
        allowed = get_args(types[name]) if isinstance(types[name], UnionType) else (types[name],)
        fits = type(value) in allowed or (float in allowed and type(value) is int)
        if not fits:
            expected = " or ".join(option.__name__ for option in allowed)
            raise DrakeError(f"{name} of the source {source!r} must be {expected}, not {value!r}.")
    return kind(**values)


def _raise(error: DrakeError) -> None:
    raise error

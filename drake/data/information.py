"""What a built dataset is, without reading its records: `drake info`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drake.catalog.licences import Commercial
from drake.data.hub import fetch_description, names_repository
from drake.data.licences import stored_licences
from drake.data.manifest import DATA, PUBLIC, Manifest, check_size, read_manifest
from drake.errors import DrakeError


@dataclass(frozen=True)
class TaskInformation:
    """One task, or the public records (task "public"). Records by split; public ones count as train.

    client: its number, None for tasks that no client trains on. pictures: how many; picture_bytes: their size, with
    about four bytes more for each; both None if the files are not here.
    """

    task: str
    source: str
    category: str
    metric: str
    client: int | None
    train: int
    test: int
    pictures: int | None
    picture_bytes: int | None
    licence: str
    commercial: Commercial


@dataclass(frozen=True)
class DatasetInformation:
    """A built dataset. path: the folder, or the repository on the Hub. bytes: of all files. tasks: public records last.
    open_with: Python lines and commands that open it."""

    path: str
    name: str
    source: str
    revision: str
    seed: int
    parameters: dict[str, Any]
    fingerprint: str
    licence: str
    clients: tuple[tuple[str, ...], ...]
    schedules: tuple[str, ...]
    bytes: int
    tasks: tuple[TaskInformation, ...] = ()
    open_with: tuple[str, ...] = field(default=())


def information(path_or_repo: str | Path) -> DatasetInformation:
    """What a built dataset is: a folder, or the id of one on the Hugging Face Hub, of which the manifest alone is
    downloaded. Pictures are counted by the lengths of lists; none is read.

    Raises DrakeError if there is no such dataset, and for files that are not those of the manifest.
    """
    here = not names_repository(path_or_repo)
    folder = Path(path_or_repo) if here else fetch_description(str(path_or_repo))
    manifest = read_manifest(folder)
    licences = stored_licences(folder)
    owner = {task: number for number, tasks in enumerate(manifest.clients) for task in tasks}
    tasks: list[TaskInformation] = []
    for task, entry in manifest.tasks.items():
        pictures, size = _pictures(folder, manifest, task) if here else (None, None)
        licence, commercial = licences.of(entry.source)
        tasks.append(
            TaskInformation(
                task,
                entry.source,
                entry.category,
                entry.metric,
                owner.get(task),
                entry.train,
                entry.test,
                pictures,
                size,
                licence,
                commercial,
            )
        )
    if manifest.public:
        pictures, size = _pictures(folder, manifest, PUBLIC) if here else (None, None)
        licence, commercial = licences.of(PUBLIC)
        tasks.append(
            TaskInformation(PUBLIC, "", PUBLIC, "", None, manifest.public, 0, pictures, size, licence, commercial)
        )
    path, first = str(path_or_repo), next(iter(manifest.tasks))
    return DatasetInformation(
        path=path,
        name=manifest.name,
        source=manifest.source,
        revision=manifest.revision,
        seed=manifest.seed,
        parameters=manifest.parameters,
        fingerprint=manifest.fingerprint,
        licence=licences.whole,
        clients=manifest.clients,
        schedules=tuple(manifest.schedules),
        bytes=sum(entry.bytes for entry in manifest.files.values()),
        tasks=tuple(tasks),
        open_with=(
            f"drake.load({path!r})",
            f"datasets.load_dataset({path!r}, {first!r})",
            f"drake eval --method fedit --data {path}",
        ),
    )


def _pictures(folder: Path, manifest: Manifest, task: str) -> tuple[int, int]:
    """The number of a task's pictures, and the bytes that they take."""
    from drake.data.verification.reading import picture_counts

    count = size = 0
    for name, entry in manifest.files.items():
        if name.startswith(f"{DATA}/{task}/"):
            check_size(folder, name, entry)
            try:
                of_file = picture_counts(folder / name, entry.rows)
            except DrakeError as error:
                raise DrakeError(f"{error} `drake verify {folder}` lists what is wrong with the dataset.") from error
            count, size = count + of_file[0], size + of_file[1]
    return count, size

"""A small dataset folder, and ways to change what lies in it with or without the manifest's consent."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from build_samples import png

from drake.data.checks import Finding
from drake.data.manifest import MANIFEST, fingerprint, legacy_fingerprint, read_manifest
from drake.data.record import PUBLIC, Record
from drake.data.verification import verify
from drake.data.writer import Provenance, Schedules, file_entry, write_dataset

TRAIN, TEST = 20, 10
CLIENTS = (("Pets-0", "Pets-1"), ("Cars-0",))


def sample(task: str, split: str, number: int) -> Record:
    """A record with a prompt and a picture of its own and two choices, whose answers take turns."""
    of_all = ("Pets-0", "Pets-1", "Cars-0", "Maps-0", PUBLIC).index(task) * 100 + number
    of_all += 50 if split == "test" else 0
    return Record(
        id=f"{task}/{split}/{number:06d}" if task != PUBLIC else f"public/{number}",
        task=task,
        source=task.partition("-")[0],
        category="",
        images=(png(of_all * 91),),
        prompt=f"<image>\nIs {of_all} shown?\nChoice list:[Yes, No]. Your answer is:",
        choices=("Yes", "No"),
        answer=("Yes", "No")[number % 2],
        metric="accuracy",
    )


def stored(folder: Path, change: Callable[[str, Record], Record] = lambda split, record: record) -> Path:
    """Two clients with three tasks, an unseen task and public records. change: (split, record) -> the one to store."""
    made = [("train", sample(task, "train", n)) for task in ("Pets-0", "Pets-1", "Cars-0") for n in range(TRAIN)]
    made += [
        ("test", sample(task, "test", n)) for task in ("Pets-0", "Pets-1", "Cars-0", "Maps-0") for n in range(TEST)
    ]
    made += [(PUBLIC, sample(PUBLIC, PUBLIC, n)) for n in range(3)]
    write_dataset(
        folder,
        ((split, change(split, record)) for split, record in made),
        schedules=Schedules(CLIENTS, [("dynamic", None), ("static", None), ("dirichlet-across", 0.5)], 5),
        provenance=Provenance("Samples", "samples", "1", 0, {}, "cc-by-4.0", about="Made by hand."),
    )
    return folder


def rewrite(folder: Path, name: str, change: Callable[[pa.Table], pa.Table], **options: object) -> None:
    """Change a Parquet file, and the manifest with it. options: of the Parquet writer."""
    path = folder / name
    table = change(pq.read_table(path, partitioning=None))
    pq.write_table(table, path, **({"use_dictionary": False} | options))
    agree(folder, name)


def agree(folder: Path, *names: str) -> None:
    """Make the manifest agree with the bytes of these files, as whoever tampers with a dataset would do."""
    manifest = read_manifest(folder)
    files = dict(manifest.files)
    for name in names:
        files[name] = file_entry(folder / name)
    update = {
        "files": files,
        "fingerprint": fingerprint(files.items(), manifest.clients),
        "legacy_fingerprint": legacy_fingerprint(files.items()),
    }
    (folder / MANIFEST).write_text(manifest.model_copy(update=update).model_dump_json())


def column(table: pa.Table, name: str, change: Callable[[list], list]) -> pa.Table:
    """The table with other values in one column."""
    field = table.schema.field(name)
    values = pa.array(change(table[name].to_pylist()), field.type)
    return table.set_column(table.schema.get_field_index(name), field, values)


def at(row: int, value: object) -> Callable[[list], list]:
    """A change of one value of a column."""
    return lambda values: [*values[:row], value, *values[row + 1 :]]


PETS, TEST_PETS = "data/Pets-0/train-00000.parquet", "data/Pets-0/test-00000.parquet"


def findings(folder: Path, **options) -> dict[str, Finding]:
    report = verify(folder, **options)
    found = [*report.findings, *(finding for task in report.tasks for finding in task.findings)]
    assert report.broken == any(finding.broken for finding in found)
    return {finding.what: finding for finding in found}


def broken(folder: Path, **options) -> set[str]:
    return {what for what, finding in findings(folder, **options).items() if finding.broken}

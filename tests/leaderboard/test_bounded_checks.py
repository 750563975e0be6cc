"""Hostile submissions take little of a reviewer's machine: bounded time and memory, in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import drake_leaderboard
import pyarrow as pa
import pyarrow.parquet as pq
from drake_leaderboard import tickets

from drake.scoring.predictions import prediction_path

MIB = 1 << 20
SECONDS = 20
"""Of a processor, for one submission."""
MEMORY = 700 * MIB
"""Above what the process needed after its imports, the embedded suite included."""

CHECK = """
import json, pathlib, sys, time
from drake_leaderboard import validation
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
before, found = None, {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda folder: folder.name != "honest"):
    before = before or peak()
    started = time.process_time()
    refused = validation.validate(folder).refused
    found[folder.name] = {"refused": list(refused), "seconds": time.process_time() - started, "bytes": peak() - before}
print(json.dumps(found))
"""


def _results(text: str) -> Callable[[Path], object]:
    """results.json of the honest submission with this JSON under one more key."""

    def change(folder: Path) -> None:
        path = folder / "results.json"
        path.write_text(path.read_text().rstrip().removesuffix("}") + f', "more": {text}}}')

    return change


def _long_texts(folder: Path) -> None:
    """Every answer is the same 64 MiB, which a dictionary stores once."""
    path = prediction_path(folder, 1, 1)
    table = pq.read_table(path)
    texts = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(table)), ["x" * (64 * MIB)])
    changed = table.set_column(table.column_names.index("text"), "text", texts)
    pq.write_table(changed, path, compression="zstd", store_schema=False)


def _many_rows(folder: Path) -> None:
    path = prediction_path(folder, 1, 1)
    row = pq.read_table(path).slice(0, 1)
    pq.write_table(pa.concat_tables([row] * 100_000).combine_chunks(), path, compression="zstd")


def _device(folder: Path) -> None:
    (folder / "results.json").unlink()
    (folder / "results.json").symlink_to("/dev/zero")


def _pipe(folder: Path) -> None:
    path = prediction_path(folder, 1, 1)
    path.unlink()
    os.mkfifo(path)


def _sparse(folder: Path) -> None:
    with (folder / "results.json").open("wb") as file:
        file.truncate(1 << 34)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "numbers": (_results("[" + "0," * 30_000_000 + "0]"), "cannot be read as JSON"),
    "lists": (_results("[" + "[]," * 10_000_000 + "[]]"), "cannot be read as JSON"),
    "keys": (_results("{" + ",".join(f'"{number}":0' for number in range(400_000)) + "}"), "is not valid at more"),
    "deep": (_results("[" * 200_000 + "]" * 200_000), "nests 200001 deep"),
    "device": (_device, "is a symbolic link"),
    "pipe": (_pipe, "is no regular file"),
    "sparse": (_sparse, "is larger than 256 MiB"),
    "long texts": (_long_texts, "point-1.parquet"),
    "many rows": (_many_rows, "point-1.parquet"),
}


def test_hostile_submissions_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    bundled = Path(drake_leaderboard.__file__).with_name("submissions") / "mini-sft"
    shutil.copytree(bundled, tmp_path / "honest")
    for name, (change, _) in HOSTILE.items():
        folder = Path(shutil.copytree(bundled, tmp_path / name))
        change(folder)
        sign(folder)
    run = subprocess.run(
        [sys.executable, "-c", CHECK, tmp_path], capture_output=True, text=True, timeout=250, check=True
    )
    found = json.loads(run.stdout)
    assert found.pop("honest")["refused"] == []
    assert found.keys() == HOSTILE.keys()
    for name, of_one in found.items():
        assert any(HOSTILE[name][1] in sentence for sentence in of_one["refused"]), (name, of_one)
        assert of_one["seconds"] < SECONDS, (name, of_one)
        assert of_one["bytes"] < MEMORY, (name, of_one)


def sign(folder: Path) -> None:
    """Put the hashes of the changed files into the ticket, where they are files."""
    path = folder / "submission.json"
    ticket = json.loads(path.read_text())
    for name in ticket["sha256"]:
        file = folder / name
        if file.is_file() and not file.is_symlink() and file.stat().st_size < 1 << 30:
            ticket["sha256"][name] = tickets.sha256(file)
    path.write_text(json.dumps(ticket))

"""Built datasets offline and through `datasets.load_dataset`, whose cache never hands out another build."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from build_samples import SIZES, png
from stored_samples import stored as stored_sample

import drake.data.benchmark
from drake.data.benchmark import load
from drake.data.building import build

ROOT = Path(__file__).parents[2]


OFFLINE = """
import sys
from pathlib import Path
import datasets, drake
from drake.errors import DrakeError

folder = sys.argv[1]
files = lambda: {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}
before = files()
client = drake.load(folder).client(0)
print(len(client.round(0)), client.round(0)[0]["id"])
rows = datasets.load_dataset(folder, "NLVR2-0", split="train")
print(len(rows), rows[0]["images"][0].size)
assert files() == before
try:
    drake.load("nobody/such-a-dataset")
except DrakeError as error:
    print(error)
"""


def test_everything_works_offline_and_the_folder_is_not_written_to(stored, tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(stored)],
        cwd=ROOT,
        env=os.environ
        | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path / "datasets")},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    first, second, refusal = made.stdout.strip().split("\n")
    assert first.startswith("2 Fashion200K-0/train/")
    assert second == "12 (36, 36)"
    assert "nobody/such-a-dataset" in refusal
    assert "cannot be reached" in refusal


def test_load_dataset_never_hands_out_another_build(tmp_path):
    """The folders have the same last part, the same configs and the same patterns."""
    first = build(out=tmp_path / "a/mini", seed=0, **SIZES)
    second = build(out=tmp_path / "b/mini", seed=1, **SIZES)

    def pictures(folder: Path, config: str = "VSR-0") -> list[bytes]:
        rows = datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "cache"))["train"]
        rows = rows.cast_column("images", datasets.List(datasets.Image(decode=False)))
        return [row["images"][0]["bytes"] for row in rows]

    of_first = pictures(first)
    assert pictures(second) == [row["images"][0]["bytes"] for row in load(second).records("VSR-0", "train")]
    assert pictures(second) != of_first
    assert pictures(first) == of_first
    build(out=first, seed=1, overwrite=True, **SIZES)
    assert pictures(first) == pictures(second)
    assert len(pictures(second, "default")) == 12 * 47


RECORDS = """
import sys, datasets
for folder in sys.argv[2:]:
    for config, split in (("Pets-0", "train"), ("default", "test"), ("public", "public")):
        rows = datasets.load_dataset(folder, config, split=split, cache_dir=sys.argv[1])
        rows = rows.cast_column("images", datasets.List(datasets.Image(decode=False)))
        print([(row["id"], row["prompt"], row["answer"], row["images"][0]["bytes"].hex()) for row in rows])
"""


def test_load_dataset_in_a_fresh_process_never_gives_another_builds_records(tmp_path):
    """Builds whose folders have the same last part, the same configs and the same patterns, with other prompts, other
    pictures, other answers. The last takes the place of the first. They share a cache, and each is opened by a process
    of its own."""

    def opened(*folders: Path) -> list[str]:
        command = [sys.executable, "-c", RECORDS, str(tmp_path / "cache"), *map(str, folders)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def written(*folders: Path) -> list[str]:
        found = []
        for folder in folders:
            for pattern in ("Pets-0/train-*", "*/test-*", "public/public-*"):
                tables = [pq.read_table(path, partitioning=None) for path in sorted(folder.glob(f"data/{pattern}"))]
                rows = [row for table in tables for row in table.to_pylist()]
                found.append(
                    str([(row["id"], row["prompt"], row["answer"], row["images"][0]["bytes"].hex()) for row in rows])
                )
        return found

    folders = [tmp_path / part / "same" for part in "abcd"]
    changes = [
        lambda split, record: record,
        lambda split, record: record._replace(prompt=record.prompt + " "),
        lambda split, record: record._replace(answer="No" if record.answer == "Yes" else "Yes"),
        lambda split, record: record._replace(images=(png(int(record.id[-1])),)),
    ]
    for folder, change in zip(folders, changes, strict=True):
        stored_sample(folder, change)
    assert len(set(written(*folders))) == 12
    assert opened(folders[0]) == written(folders[0])
    shutil.rmtree(folders[0])
    folders[3].rename(folders[0])
    assert opened(*folders[:3]) == written(*folders[:3])


SCHEDULE = """
import sys, datasets
rows = datasets.load_dataset(sys.argv[1], "dynamic", split="train", cache_dir=sys.argv[2])
print(*rows["id"])
"""


def test_load_dataset_never_hands_out_the_schedule_of_another_build(tmp_path):
    """The same records, so the same fingerprint, but another order of arrival; each opened in a process of its own."""
    rows = [{"q": f"Which is {number}?", "a": str(number % 2)} for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "drake.toml").write_text(
        'name = "Rows"\nlicence = "cc0-1.0"\n[tasks.Rows-0]\ntrain = "rows.jsonl"\ntest = "rows.jsonl"\n'
        'prompt = "{q}"\nanswer = "a"\n'
    )
    folders = [build(tmp_path, out=tmp_path / part / "rows", seed=seed) for part, seed in (("a", 0), ("b", 1))]
    assert load(folders[0]).fingerprint == load(folders[1]).fingerprint
    for folder in folders:
        command = [sys.executable, "-c", SCHEDULE, str(folder), str(tmp_path / "cache")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == pq.read_table(folder / "schedules/dynamic.parquet")["id"].to_pylist()


def test_the_arrow_copies_of_a_large_dataset_belong_to_their_content(stored, tmp_path, monkeypatch):
    """Same path and modification time, other content."""
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", 0)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "d"
    for seed in (0, 1):
        build(out=folder, seed=seed, overwrite=True, **SIZES)
        for path in folder.rglob("*.parquet"):
            os.utime(path, (1, 1))
        table = pq.read_table(folder / "data/VSR-0/train-00000.parquet")
        assert load(folder).records("VSR-0", "train").to_list() == table.to_pylist()


@pytest.mark.parametrize("name", ["x [v2]", "a::b", "ein Ordner", "*", "a?b=1", "100%20", "~d", "-d"])
def test_a_folder_may_be_called_anything(stored, tmp_path, monkeypatch, name):
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", 0)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    expected = load(stored).client(2).round(3).to_list()
    folder = Path(shutil.copytree(stored, tmp_path / name))
    assert load(folder).client(2).round(3).to_list() == expected
    assert len(load(folder).public) == 2 * 25

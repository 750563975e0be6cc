"""Opening a built dataset: what it offers, what it checks, and that it neither writes nor needs a network."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_samples import png
from huggingface_hub.errors import EntryNotFoundError
from PIL import Image
from stored_samples import stored as stored_sample

import drake.data.benchmark
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.manifest import FileEntry, fingerprint, legacy_fingerprint, sha256
from drake.errors import DrakeError, UnknownName

ROOT = Path(__file__).parents[2]
SIZES = {"train": 12, "test": 4, "public_per_world": 2, "workers": 1}


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    return build(split="dirichlet-across", out=tmp_path_factory.mktemp("built") / "d", **SIZES)


@pytest.fixture
def copy(stored, tmp_path) -> Path:
    """A copy whose files may be spoilt; hard links, so a test replaces files and never writes into them."""
    folder = tmp_path / "copy"
    for path in stored.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(stored)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return folder


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, drake; heavy = {'numpy', 'pyarrow', 'datasets', 'torch', 'pydantic'} & set(sys.modules); "
        "assert not heavy, heavy; assert drake.load.__module__ == 'drake.data.benchmark'; print(drake.__version__)"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert made.stdout.strip() == project["version"]


def test_a_benchmark_says_what_its_manifest_says(stored):
    benchmark = load(stored)
    assert (benchmark.name, benchmark.source, benchmark.seed) == ("DRAKE mini", "mini", 0)
    assert benchmark.fingerprint == json.loads((stored / "manifest.json").read_text())["fingerprint"]
    assert (len(benchmark.tasks), len(benchmark.unseen), len(benchmark.clients)) == (47, 7, 10)
    assert benchmark.client(1).tasks == benchmark.clients[1] == ("VSR-0", "VISION-1", "Fashion200K-2", "NLVR2-0")
    assert (benchmark.rounds, benchmark.rounds_per_task) == (20, 5)
    assert benchmark.tasks["NLVR2-0"].metric == "accuracy"
    assert "DRAKE mini" in repr(benchmark)


def test_records_are_the_stored_rows_with_encoded_pictures(stored):
    rows = load(stored).records("NLVR2-0", "test")
    assert rows.features["images"] == datasets.List(datasets.Image(decode=False))
    expected = pq.read_table(stored / "data/NLVR2-0/test-00000.parquet").to_pylist()
    assert rows.to_list() == expected
    assert Image.open(io.BytesIO(rows[0]["images"][0]["bytes"])).size == (36, 36)


def test_public_records_belong_to_no_task(stored):
    public = load(stored).public
    assert set(public["task"]) == {"public"}
    assert len(public) == 50


def test_the_rounds_of_a_client_are_its_stored_schedule(stored):
    schedule = pq.read_table(stored / "schedules/dynamic.parquet").to_pylist()
    client = load(stored).client(3)
    for number in range(20):
        ids = [row["id"] for row in schedule if (row["client"], row["round"]) == (3, number)]
        assert list(client.round(number)["id"]) == ids
        assert [client.pool[row]["id"] for row in client.arrivals[number]] == ids
    tasks = [task for number in range(20) for task in dict.fromkeys(client.round(number)["task"])]
    assert list(dict.fromkeys(tasks)) == list(client.tasks)
    assert sum(len(client.round(number)) for number in range(20)) == 48


def test_a_round_is_a_view(stored):
    benchmark = load(stored)
    client = benchmark.client(0)

    def addresses(rows):
        return [chunk.buffers()[2].address for chunk in rows.data.column("prompt").chunks]

    assert addresses(client.round(2)) == addresses(client.pool)
    assert addresses(client.pool)[0] == addresses(benchmark.records(client.tasks[0], "train"))[0]


def test_other_schedules_deal_the_same_records_otherwise(stored):
    static = load(stored, "static").client(0)
    assert {len(static.round(number)) for number in range(20)} == {2}
    assert len({task for number in range(20) for task in static.round(number)["task"]}) == 4
    across = load(stored, "dirichlet-across")  # stored as dirichlet-across-0.5, the only one of its kind
    assert across.schedule == "dirichlet-across-0.5"
    met = [id for client in range(10) for number in range(20) for id in across.client(client).round(number)["id"]]
    assert len(set(met)) == len(met) > 40 * 12 - 10 * 20
    assert across.fingerprint == load(stored).fingerprint
    assert across.schedule_sha256 != load(stored).schedule_sha256


def test_a_large_dataset_goes_through_the_arrow_cache_with_the_same_rows(stored, tmp_path, monkeypatch):
    small = load(stored)
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", 0)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    large = load(stored)
    rows = large.records("VSR-0", "train")
    assert rows.features == small.records("VSR-0", "train").features
    assert rows.to_list() == small.records("VSR-0", "train").to_list()
    assert Path(rows.cache_files[0]["filename"]).is_relative_to(tmp_path / "cache")
    assert large.client(1).round(4).to_list() == small.client(1).round(4).to_list()


def test_names_that_do_not_exist_are_refused(stored):
    benchmark = load(stored)
    with pytest.raises(UnknownName, match="did you mean 'NLVR2-0'"):
        benchmark.records("NLVR2-00", "train")
    with pytest.raises(UnknownName, match="train"):
        benchmark.records("NLVR2-0", "validation")
    for number in (-1, 10):
        with pytest.raises(DrakeError, match="clients 0 to 9"):
            benchmark.client(number)
    for number in (-1, 20):
        with pytest.raises(DrakeError, match="rounds 0 to 19"):
            benchmark.client(0).round(number)
    with pytest.raises(DrakeError, match=r"no schedule 'dirichlet'.*dynamic, static"):
        load(stored, "dirichlet")


def test_it_travels_to_another_process_as_a_path(stored):
    benchmark = load(stored, "static")
    benchmark.client(0).round(0)
    packed = pickle.dumps(benchmark)
    assert len(packed) < 50_000
    assert pickle.loads(packed).client(0).round(1)["id"] == benchmark.client(0).round(1)["id"]


def test_a_folder_that_is_missing_or_something_else_is_refused(tmp_path):
    with pytest.raises(DrakeError, match=r"no folder .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(DrakeError, match="no built dataset"):
        load(tmp_path)


def test_a_file_that_is_missing_or_of_another_size_is_refused(copy):
    path = copy / "data/VSR-0/train-00000.parquet"
    content = path.read_bytes()
    replace(path, content[:-1])
    for check in ("sizes", "sha256"):
        with pytest.raises(DrakeError, match=r"VSR-0/train-00000.parquet has \d+ bytes"):
            load(copy, check=check)
    path.unlink()
    with pytest.raises(DrakeError, match=r"data/VSR-0/train-00000.parquet is missing"):
        load(copy, check="sizes")


def test_a_flipped_bit_is_found_unless_only_sizes_are_checked(copy):
    path = copy / "schedules/dynamic.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    replace(path, bytes(content))
    assert load(copy, check="sizes").rounds == 20
    with pytest.raises(DrakeError, match=r"dynamic.parquet is not the file its manifest describes"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=3), "schema_version"),
        (lambda m: m.update(fingerprint="0" * 64), "contradicts itself"),
        (lambda m: m["files"].update({"../secret": {"sha256": "", "bytes": 1, "rows": 1}}), "inside the dataset"),
        (lambda m: m.pop("clients"), "clients"),
        (
            lambda m: m["schedules"].update({"../../other": m["schedules"].pop("dynamic")}),
            "not the name of a task",
        ),
        (lambda m: m["schedules"].update(other=m["schedules"].pop("dynamic")), "the schedule other has no file"),
    ],
)
def test_a_manifest_that_cannot_be_believed_is_refused(copy, change, message):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    replace(copy / "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DrakeError, match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_a_repository_on_the_hub_is_fetched_at_the_commit_of_its_manifest(stored, tmp_path, monkeypatch):
    snapshot = tmp_path / "snapshots" / "c0ffee"
    snapshot.parent.mkdir()
    snapshot.symlink_to(stored)
    asked = []

    def hf_hub_download(repo, name, repo_type):
        return str(snapshot / name)

    def snapshot_download(repo, repo_type, revision, allow_patterns):
        asked.append((repo, repo_type, revision))
        assert all(any(fnmatch(name, pattern) for pattern in allow_patterns) for name in needed)
        return str(snapshot)

    needed = ["manifest.json", *json.loads((stored / "manifest.json").read_text())["files"]]
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert load("someone/drake-mini").fingerprint == load(stored).fingerprint
    assert asked == [("someone/drake-mini", "dataset", "c0ffee")]


def test_a_repository_without_a_manifest_is_no_dataset(monkeypatch):
    def hf_hub_download(repo, name, repo_type):
        raise EntryNotFoundError("404")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    with pytest.raises(DrakeError, match=r"someone/else.*no built dataset"):
        load("someone/else")


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


def schema_1(manifest: dict) -> None:
    """Turn a manifest into that of an older version."""
    manifest.update(schema_version=1, fingerprint=manifest.pop("legacy_fingerprint"))
    for task in manifest["tasks"].values():
        del task["gold_fails"]


def test_a_dataset_of_an_older_version_opens_with_the_fingerprint_of_today(stored, copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    schema_1(manifest)
    replace(copy / "manifest.json", json.dumps(manifest).encode())
    assert load(copy).fingerprint == load(stored).fingerprint
    manifest["fingerprint"] = "0" * 64
    replace(copy / "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DrakeError, match="contradicts itself"):
        load(copy)


def test_the_fingerprint_covers_names_and_clients(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    files = {name: FileEntry.model_validate(entry) for name, entry in manifest["files"].items()}
    before = fingerprint(files.items(), manifest["clients"])
    assert before == manifest["fingerprint"]
    exchanged = dict(files)
    train, test = "data/VSR-0/train-00000.parquet", "data/VSR-0/test-00000.parquet"
    exchanged[train], exchanged[test] = files[test], files[train]
    assert fingerprint(exchanged.items(), manifest["clients"]) != before
    assert fingerprint(files.items(), manifest["clients"][::-1]) != before
    schedule = {**files, "schedules/static.parquet": files[train]}
    assert fingerprint(schedule.items(), manifest["clients"]) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["schedules"]["static"].update(rounds=10**10), "rounds"),
        (lambda m: m["schedules"]["static"].update(rounds_per_task=float("nan")), "rounds_per_task"),
        (lambda m: m["schedules"].update({"../../x": m["schedules"]["static"]}), "schedules"),
        (lambda m: m["schedules"].update(other=m["schedules"]["static"]), "the schedule other has no file"),
        (lambda m: m["clients"].append([]), "client 10 has no task"),
        (lambda m: m["clients"][0].append("VSR-0"), "'VSR-0' belongs to client 0 and to client 1"),
        (lambda m: m["clients"][0].append("Pets-0"), "'Pets-0' of client 0 does not exist"),
        (lambda m: m.update(clients=[]), "no client"),
        (lambda m: m["tasks"]["VSR-0"].update(train=13), "VSR-0.*has 13 records, its files 12"),
        (lambda m: m["tasks"]["VSR-0"].update(train=True), "train"),
        (lambda m: m["tasks"]["VSR-0"].update(train=-1), "train"),
        (lambda m: m["tasks"]["VSR-0"].update(metric="bleu"), "metric"),
        (lambda m: m.update(seed="0"), "seed"),
        (lambda m: m["files"]["schedules/static.parquet"].update(sha256="x"), "sha256"),
    ],
)
def test_a_manifest_that_would_hang_or_break_a_run_is_refused(copy, change, message):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    replace(copy / "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DrakeError, match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_a_pipe_or_enormous_or_deep_is_refused(copy, monkeypatch):
    replace(copy / "manifest.json", b"[" * 200_000)
    with pytest.raises(DrakeError, match="not a manifest"):
        load(copy)
    monkeypatch.setattr("drake.data.manifest.MOST_BYTES", 1000)
    with pytest.raises(DrakeError, match="more than 1,000"):
        load(copy)
    (copy / "manifest.json").unlink()
    os.mkfifo(copy / "manifest.json")
    with pytest.raises(DrakeError, match="no regular file"):
        load(copy)


def test_a_file_behind_a_link_out_of_the_dataset_is_refused(copy, tmp_path):
    for name in ("data/VSR-0/test-00000.parquet", "schedules/dynamic.parquet"):
        outside = tmp_path / "outside.parquet"
        (copy / name).rename(outside)
        (copy / name).symlink_to(outside)
        with pytest.raises(DrakeError, match="is a link to a file outside the dataset"):
            load(copy)
        (copy / name).unlink()
        outside.rename(copy / name)
    load(copy)


def rewritten(folder: Path, name: str, change) -> None:
    """Change a Parquet file and let the manifest agree with it."""
    table = change(pq.read_table(folder / name))
    (folder / name).unlink()
    pq.write_table(table, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name].update(sha256=sha256(folder / name), bytes=(folder / name).stat().st_size)
    entries = [(path, FileEntry.model_validate(entry)) for path, entry in manifest["files"].items()]
    manifest["fingerprint"] = fingerprint(entries, manifest["clients"])
    manifest["legacy_fingerprint"] = legacy_fingerprint(entries)
    replace(folder / "manifest.json", json.dumps(manifest).encode())


def replaced(table: pa.Table, column: str, values: list) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["answer"]), "no column 'answer'"),
        (lambda table: replaced(table, "answer", [None, *table["answer"].to_pylist()[1:]]), "rows without 'answer'"),
        (lambda table: table.set_column(5, "prompt", pa.array(range(len(table)))), None),
        (lambda table: table.set_column(4, "images", pa.array(range(len(table)))), "columns of other types"),
        (lambda table: table.slice(1), "has 3 rows where the manifest says 4"),
    ],
)
@pytest.mark.parametrize("most_in_memory", [0, 1 << 30])
def test_record_files_of_another_shape_are_one_sentence(copy, tmp_path, monkeypatch, change, message, most_in_memory):
    monkeypatch.setattr(drake.data.benchmark, "MOST_IN_MEMORY", most_in_memory)
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    rewritten(copy, "data/VSR-0/test-00000.parquet", change)
    if message is None:  # numbers are read as text
        assert load(copy).records("VSR-0", "test")["prompt"][:] == ["0", "1", "2", "3"]
        return
    with pytest.raises(DrakeError, match=message):
        load(copy).records("VSR-0", "test")


@pytest.mark.parametrize(
    ("column", "value"), [("round", 10**6), ("round", -1), ("id", "VSR-0/test/000000"), ("id", None)]
)
def test_a_schedule_that_names_what_is_not_there_is_one_sentence(copy, column, value):
    def change(table: pa.Table) -> pa.Table:
        return replaced(table, column, [value, *table[column].to_pylist()[1:]])

    rewritten(copy, "schedules/dynamic.parquet", change)
    with pytest.raises(DrakeError, match="build the dataset again"):
        _ = load(copy).client(0).arrivals

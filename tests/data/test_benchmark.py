"""Opening a built dataset: what it offers, and that it comes from a folder or from the Hub."""

import io
import json
import pickle
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import EntryNotFoundError
from PIL import Image

import drake.data.benchmark
from drake.data.benchmark import load
from drake.errors import DrakeError, UnknownName

ROOT = Path(__file__).parents[2]


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

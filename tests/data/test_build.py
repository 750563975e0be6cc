"""Building the embedded suite as users do, and its cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import drake.data.building
from drake.catalog import clients, unseen
from drake.data.benchmark import load
from drake.data.building import build, cached_mini
from drake.data.manifest import read_manifest
from drake.data.sources import open_source
from drake.data.sources.mini import processes
from drake.errors import DrakeError, UnknownName

SIZES = {"train": 12, "test": 4, "public_per_world": 2}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    return build(out=tmp_path_factory.mktemp("mini") / "d", workers=1, **SIZES)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_mini_suite_has_the_catalogs_clients_and_unseen_tasks(mini):
    manifest = read_manifest(mini)
    assert (manifest.clients, manifest.dealt) == (clients(), "catalog")
    assert set(manifest.unseen) == {task for tasks in unseen().values() for task in tasks}
    assert {(entry.train, entry.test) for entry in manifest.tasks.values()} == {(12, 4)}
    assert set(manifest.schedules) == {"dynamic", "static"}
    assert manifest.parameters == {**SIZES, "split": "dynamic"}


def test_the_same_seed_gives_the_same_bytes(mini, tmp_path):
    again = build(out=tmp_path / "again", workers=2, **SIZES)
    assert files(again) == files(mini)
    other = build(out=tmp_path / "other", seed=1, workers=1, **SIZES)
    assert read_manifest(other).fingerprint != read_manifest(mini).fingerprint


def test_the_suite_has_the_bytes_that_stored_results_were_made_on(mini):
    manifest = read_manifest(mini)
    assert manifest.legacy_fingerprint == "aad9a86790d81fcf5aac2a0caca1cd325590bac7015ca5dfea2fa6ca9825578d"
    assert manifest.fingerprint == "1e14a53904a35fa2ec3bbd0d01a1560ab9dff10e7461a64cce3d3235553760ba"
    schedules = {name: entry.sha256[:16] for name, entry in manifest.files.items() if name.startswith("schedules/")}
    assert schedules == {
        "schedules/dynamic.parquet": "f593642b564a55ff",
        "schedules/static.parquet": "b56f638cb80d37e6",
    }


def test_a_script_without_a_main_guard_may_use_several_processes(mini, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import drake\ndrake.build('mini', out='built', workers=2, **{SIZES!r})\nprint('once')\n")
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    assert read_manifest(tmp_path / "built").fingerprint == read_manifest(mini).fingerprint


def test_a_script_from_standard_input_may_use_several_processes(tmp_path):
    sizes = {"train": 2, "test": 1, "public_per_world": 0}
    script = f"import drake\ndrake.build('mini', out='built', workers=2, **{sizes!r})\nprint('once')\n"
    done = subprocess.run([sys.executable], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    assert read_manifest(tmp_path / "built").tasks["VSR-0"].train == 2


def test_a_process_that_is_killed_is_one_sentence(tmp_path, monkeypatch):
    real = processes._start

    def doomed():
        worker = real()
        worker.kill()
        return worker

    monkeypatch.setattr(processes, "_start", doomed)
    with pytest.raises(DrakeError, match=r"ended early.*workers=1"):
        build(out=tmp_path / "d", workers=2, **SIZES)
    assert list(tmp_path.iterdir()) == []


def test_the_source_alone_draws_the_same_records(mini):
    source = open_source("mini", **SIZES)
    stored = load(mini)
    drawn = list(source.records("VSR-0", "test"))
    assert [record.id for record in drawn] == stored.records("VSR-0", "test")["id"][:]
    assert [record.id for record in source.public_records()] == stored.public["id"][:]


def test_only_the_schedules_differ_between_splits(mini, tmp_path):
    out = build(split="dirichlet-across-0.3", out=tmp_path / "d", workers=1, **SIZES)
    manifest = read_manifest(out)
    assert set(manifest.schedules) == {"dynamic", "static", "dirichlet-across-0.3"}
    assert manifest.fingerprint == read_manifest(mini).fingerprint
    assert (out / "schedules/static.parquet").read_bytes() == (mini / "schedules/static.parquet").read_bytes()


def test_progress_counts_up_to_all_parts(tmp_path):
    calls = []
    build(out=tmp_path / "d", workers=1, progress=lambda *call: calls.append(call), **SIZES)
    total = 2 * 47 + 1
    assert [done for done, _, _ in calls] == list(range(total + 1))
    assert {parts for _, parts, _ in calls} == {total}
    assert calls[-2][2] == "public"


def test_without_out_it_lies_in_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build(workers=1, **SIZES) == Path("data/mini")
    assert (tmp_path / "data/mini/manifest.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "maxi"}, DrakeError, "'maxi'.*'mini'"),
        ({"split": "dynamc"}, UnknownName, "dynamic"),
        ({"train": 0}, DrakeError, "train must be"),
        ({"public_per_world": -1}, DrakeError, "public_per_world must be"),
        ({"rounds_per_task": 0}, DrakeError, "rounds per task"),
        ({"split": "dirichlet", "alpha": -1.0}, DrakeError, "alpha"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_leave_nothing(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        build(out=tmp_path / "d", workers=1, **(SIZES | arguments))
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_filled_once_and_keyed_by_parameters_and_code(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    first = cached_mini(0, **SIZES)
    assert first.parent == tmp_path
    assert read_manifest(first).tasks["NLVR2-0"].train == 12
    monkeypatch.setattr(drake.data.building, "build", None)  # a second build would fail
    assert cached_mini(0, **SIZES) == first
    monkeypatch.undo()
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))

    built = []
    monkeypatch.setattr(drake.data.building, "build", lambda source, split, folder, *_, **__: built.append(folder))
    cached_mini(1, **SIZES)
    cached_mini(0, **{**SIZES, "train": 13})
    cached_mini(0, split="dirichlet", **SIZES)
    monkeypatch.setattr(drake.data.building, "mini_revision", lambda: "an edited world")
    cached_mini(0, **SIZES)
    assert len({first, *built}) == 5


def test_a_cached_suite_whose_bytes_were_changed_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    folder = cached_mini(0, **SIZES)
    path = folder / "data/VSR-0/test-00000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert cached_mini(0, **SIZES) == folder
    assert path.read_bytes() == content


def test_the_revision_follows_the_code_of_the_worlds(tmp_path, monkeypatch):
    (tmp_path / "mini").mkdir()
    monkeypatch.setattr(drake.data.building, "__file__", str(tmp_path / "__init__.py"))
    world = tmp_path / "mini" / "world.py"
    world.write_text("SIDES = 3\n")
    before = drake.data.building._code("mini")
    (tmp_path / "mini" / "notes.txt").write_text("not code")
    assert drake.data.building._code("mini") == before
    world.write_text("SIDES = 4\n")
    assert drake.data.building._code("mini") != before


def test_processes_that_race_for_the_cache_agree(tmp_path):
    code = f"from drake.data.building import cached_mini; print(cached_mini(0, **{SIZES!r}))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"DRAKE_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    (folder,) = tmp_path.iterdir()  # one dataset, and nothing half-built beside it
    assert read_manifest(folder).fingerprint


def test_the_loser_of_a_race_uses_the_winners(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    real = drake.data.building.build

    def late(source, split, folder, *arguments, **options):
        real(source, split, folder, *arguments, **options)
        raise DrakeError(f"{folder} appeared while it was being built.")

    monkeypatch.setattr(drake.data.building, "build", late)
    assert json.loads((cached_mini(0, **SIZES) / "manifest.json").read_text())["seed"] == 0

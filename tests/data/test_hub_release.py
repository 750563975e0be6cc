"""The release from the Hub: what is downloaded, what stays, what is refused, and builds that are stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
from build_samples import larger_release
from hub_stand_in import COMMIT, REPOSITORY, standing_in

import drake.data.staged
from drake.catalog import tasks as catalog_tasks
from drake.data.benchmark import load
from drake.data.building import build
from drake.data.manifest import read_manifest
from drake.errors import DrakeError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def release(tmp_path):
    return larger_release(tmp_path / "release")


@pytest.fixture
def hub(tmp_path, release, monkeypatch):
    """The release as a repository, with files that are no sources."""
    archives = release.archives(tmp_path / "repository")
    (archives / "README.md").write_text("A release.")
    (archives / "llava_ft").mkdir()
    (archives / "llava_ft" / "llava_ft_jsons.tar").write_bytes(b"no source")
    with standing_in(archives) as stand_in:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stand_in.url)
        template = "{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{stand_in.url}/{template}")
        yield stand_in


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_hub_gives_the_dataset_that_the_extracted_folder_gives(tmp_path, release, hub):
    built = read_manifest(build(f"hub:{REPOSITORY}", out=tmp_path / "a"))
    of_folder = read_manifest(build(release.folder, out=tmp_path / "b"))
    assert built.files == of_folder.files
    assert built.fingerprint == of_folder.fingerprint
    assert (built.source, built.revision) == ("hub", f"{REPOSITORY}@{COMMIT}")
    assert built.name == "DRAKE release"
    assert hub.downloads == ["Cars.tar", "Maps.tar", "Pets.tar"]
    assert hidden(tmp_path) == []
    stored = load(tmp_path / "a").records("Cars-0", "train")
    assert [len(row["images"]) for row in stored] == [2] * 5
    rows = datasets.load_dataset(str(tmp_path / "a"), "Cars-0", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"][:] == stored["id"][:]
    assert rows[0]["images"][1].size == (40, 40)


def test_a_revision_is_asked_for_and_the_commit_is_stored(tmp_path, hub):
    manifest = read_manifest(build(f"hub:{REPOSITORY}@v1.0", out=tmp_path / "a"))
    assert hub.revisions == ["v1.0"]
    assert manifest.revision == f"{REPOSITORY}@{COMMIT}"


def test_only_the_archives_of_the_chosen_tasks_are_downloaded(tmp_path, hub):
    manifest = read_manifest(build(f"hub:{REPOSITORY}", out=tmp_path / "a", tasks="Maps-0,Cars"))
    assert hub.downloads == ["Cars.tar", "Maps.tar"]
    assert set(manifest.tasks) == {"Cars-0", "Maps-0"}


def test_there_is_never_more_than_one_archive_on_the_disk(tmp_path, hub):
    most = 0

    def look(done: int, total: int, what: str) -> None:
        nonlocal most
        most = max(most, len(list((tmp_path / ".a.partial/downloads").glob("*.tar"))))

    build(f"hub:{REPOSITORY}", out=tmp_path / "a", progress=look)
    assert most == 1


def test_progress_is_in_bytes_and_never_goes_back(tmp_path, hub):
    calls: list[tuple[int, int, str]] = []
    build(f"hub:{REPOSITORY}", out=tmp_path / "a", progress=lambda *call: calls.append(call))
    sizes = sum(path.stat().st_size for path in hub.folder.glob("*.tar"))
    assert {total for _, total, _ in calls} == {2 * sizes}
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == 2 * sizes


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("hub:", {}, "needs a dataset repository"),
        ("hub:drake", {}, "'drake' names no repository"),
        (f"hub:{REPOSITORY}@", {}, "names no repository"),
        ("hub:nobody/nothing", {}, "did not come from the Hugging Face Hub"),
        (f"hub:{REPOSITORY}", {"tasks": "Carz-0"}, "'Carz-0'; did you mean 'Cars'"),
        (f"hub:{REPOSITORY}", {"links_to": "/data"}, "--links-to belongs to an extracted release"),
    ],
)
def test_what_cannot_be_downloaded_is_one_sentence_and_leaves_nothing(tmp_path, hub, source, options, message):
    there = sorted(tmp_path.iterdir())
    with pytest.raises(DrakeError, match=message) as caught:
        build(source, out=tmp_path / "a", **options)
    assert "\n" not in str(caught.value)
    assert hub.downloads == []
    assert sorted(tmp_path.iterdir()) == there


def test_a_task_that_its_archive_does_not_hold_is_named(tmp_path, hub):
    with pytest.raises(DrakeError, match="'Maps-7'; did you mean 'Maps-1'"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a", tasks="Maps-7")


def test_a_hub_that_is_down_is_one_sentence(tmp_path, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DrakeError, match="the list of files of SNUMPR/DRAKE did not come"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a")


def test_an_archive_that_came_with_other_bytes_is_refused(tmp_path, hub):
    hub.wrong.add("Maps.tar")
    with pytest.raises(DrakeError, match=r"Maps\.tar of SNUMPR/DRAKE came with .*\(SHA-256\)"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a")
    assert hidden(tmp_path) == []


def test_a_hostile_archive_on_the_hub_leaves_nothing(tmp_path, hub):
    from test_archives import SOUND, archive, member

    archive(hub.folder / "Maps.tar", *SOUND, member("../../outside", b"x"))
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(DrakeError, match=r"SNUMPR/DRAKE/Maps\.tar has a member called '\.\./\.\./outside'"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a")
    assert sorted(tmp_path.rglob("*")) == there


def test_too_little_space_is_said_before_anything_is_downloaded(tmp_path, hub, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(DrakeError, match=r"about 133\.1 kB are needed in .* and 50\.0 kB are free; .*--tasks"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a")
    assert hub.downloads == []
    assert hidden(tmp_path) == []


def test_what_is_finished_stays_when_a_later_archive_is_refused(tmp_path, release, hub, monkeypatch):
    monkeypatch.setattr(drake.data.staged, "WORTH_KEEPING", 1)
    hub.wrong.add("Pets.tar")
    with pytest.raises(DrakeError, match=r"SHA-256.*What is finished .* stays in .*\.a\.partial"):
        build(f"hub:{REPOSITORY}", out=tmp_path / "a")
    hub.wrong.clear()
    hub.downloads.clear()
    built = read_manifest(build(f"hub:{REPOSITORY}", out=tmp_path / "a"))
    assert hub.downloads == ["Pets.tar"]
    assert built.files == read_manifest(build(release.folder, out=tmp_path / "b")).files


def test_finished_parts_of_other_content_are_built_again(tmp_path, release, monkeypatch):
    monkeypatch.setattr(drake.data.staged, "WORTH_KEEPING", 1)
    row = release.row(0)
    row["conversations"][1]["value"] = "<image>"
    release.write("test", [row])
    with pytest.raises(DrakeError, match="<image> in its answer"):
        build(release.folder, out=tmp_path / "a")
    release.write("test", [release.row(1)])
    images = release.dataset / "Cars/full/images"
    (images / "0.png").write_bytes((images / "7.png").read_bytes())
    built = read_manifest(build(release.folder, out=tmp_path / "a"))
    assert built.files == read_manifest(build(release.folder, out=tmp_path / "b")).files
    assert hidden(tmp_path) == []


def test_another_build_of_the_same_folder_is_refused_meanwhile(tmp_path, release):
    def again(done: int, total: int, what: str) -> None:
        with pytest.raises(DrakeError, match="another process is building"):
            build(release.folder, out=tmp_path / "a")

    build(release.folder, out=tmp_path / "a", progress=again)


def test_gold_answers_that_cannot_win_are_told_by_a_build_that_goes_on(tmp_path, release, monkeypatch):
    monkeypatch.setattr(drake.data.staged, "WORTH_KEEPING", 1)
    row = release.row(0)
    row["conversations"][1]["value"] = "Maybe"
    row["image"] = "dataset/Cars/full/images/0.png"
    good = json.loads(release.file("test", "Cars-0").read_text())
    release.write("test", [*good, *good, *[row] * 3], "Cars-0")
    release.write("test", "[", "Pets-0")
    with pytest.raises(DrakeError, match="not valid JSON"):
        build(release.folder, out=tmp_path / "a")
    release.write("test", [release.row(1)])
    told: list[str] = []
    built = build(release.folder, out=tmp_path / "a", warn=told.append)
    assert [sentence.partition(",")[0] for sentence in told] == ["task Cars-0: 3 gold answers are none of the choices"]
    assert read_manifest(built).tasks["Cars-0"].gold_fails == {"official": 3, "strict": 3}


KILLED = """
import os, signal, sys
from importlib import import_module

place, count = sys.argv[1], int(sys.argv[2])
module, _, name = place.rpartition(":")
owner = import_module(module)
*way, last = name.split(".")
for piece in way:
    owner = getattr(owner, piece)
real = getattr(owner, last)

def counted(*arguments, **options):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

setattr(owner, last, counted)
import drake.data.staged
drake.data.staged.ROW_GROUP = 10_000
from drake.data.building import build
build("hub:SNUMPR/DRAKE", out=sys.argv[3])
"""
MOMENTS = [
    ("drake.data.sources.hub_release:ArchiveStage._check", 1),  # an archive is here
    ("drake.data.parquet_files:Shards.flushing", 2),  # some rows of a part are written
    ("drake.data.staged:_Build._commit", 2),  # a part is written and not noted
    ("drake.data.staged:store", 3),  # ... the third of this attempt
    ("drake.data.sources.hub_release:ArchiveStage.clear", 4),  # an archive is to be deleted
    ("huggingface_hub.file_download:_chmod_and_move", 1),  # an archive is not quite here
    ("drake.data.staged:complete", 1),  # all parts are finished, schedules and manifest are missing
    ("drake.data.writer:parquet_writer", 2),  # one of the schedules is written
    ("drake.data.staged:publish", 1),  # everything is finished
    ("drake.data.publishing:flush", 3),  # ... and partly seen to be on the disk
]


def test_a_build_that_is_killed_again_and_again_ends_in_the_same_bytes(tmp_path, release, hub, monkeypatch):
    monkeypatch.setattr(drake.data.staged, "ROW_GROUP", 10_000)
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    for place, count in MOMENTS:
        command = [sys.executable, "-c", KILLED, place, str(count), str(tmp_path / "a")]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, (place, done.stderr)
        assert not (tmp_path / "a").exists()
    downloads = len(hub.downloads)
    built = read_manifest(build(f"hub:{REPOSITORY}", out=tmp_path / "a"))
    assert len(hub.downloads) == downloads  # all of them were finished
    at_once = read_manifest(build(f"hub:{REPOSITORY}", out=tmp_path / "b"))
    assert built == at_once
    for name in built.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert hidden(tmp_path) == []


def test_the_command_downloads_builds_and_says_where_the_dataset_is(tmp_path, hub):
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", "from drake.cli import main; main()", "build", "--source", f"hub:{REPOSITORY}"]
    done = subprocess.run(
        [*command, "--tasks", "Pets-0"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("data/drake is ready")
    assert json.loads((tmp_path / "data/drake/manifest.json").read_text())["tasks"].keys() == {"Pets-0"}


def test_the_official_archives_have_the_names_of_the_catalogs_sources():
    assert {"Fashion200K", "NLVR2", "VSR"} <= {task.source for task in catalog_tasks().values()}

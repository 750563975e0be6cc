"""The official release as a folder: what becomes of its records, and one clear sentence for each thing wrong."""

import hashlib
import json
from pathlib import Path

import pytest
from build_samples import png

from drake.catalog import clients
from drake.data.building import build, deal_tasks
from drake.data.manifest import read_manifest
from drake.data.sources.release import ReleaseSource, release_records
from drake.errors import DrakeError

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "release_layout"
needs_fixture = [
    pytest.mark.shared,
    pytest.mark.skipif(not FIXTURE.is_dir(), reason=f"{FIXTURE} is absent: no real pictures to read"),
]


def test_records_keep_their_bytes_and_get_ids_choices_and_a_metric(release):
    found = list(release_records(release.folder))
    assert [(split, record.id) for split, record in found] == [
        ("train", "Pets-0/train/000000"),
        ("train", "Pets-0/train/000001"),
        ("test", "Pets-0/test/000000"),
    ]
    second = found[1][1]
    assert second.images == (png(1), png(2))
    assert second.prompt.startswith("<image><image>\nWho is it?")
    assert (second.task, second.source, second.category) == ("Pets-0", "Pets", "")
    assert (second.choices, second.answer, second.metric) == (("cat", "dog"), "cat", "accuracy")


def test_the_dataset_folder_itself_is_as_good(release):
    assert list(release_records(release.dataset)) == list(release_records(release.folder))
    moved = release.dataset.rename(release.folder / "elsewhere")  # paths still start with dataset/
    assert len(list(release_records(moved))) == 3


def test_a_task_outside_the_catalog_without_choices_is_scored_by_token_f1(release):
    rows = [release.row(0), release.row(1, question="Describe it.")]
    release.write("train", rows, "Pets-1")
    release.write("test", rows, "Pets-1")
    of_task = [record for _, record in release_records(release.folder) if record.task == "Pets-1"]
    assert {(record.metric, record.choices) for record in of_task} == {("token-F1", ())}


def test_a_task_of_the_catalog_has_the_catalogs_category_and_metric(release):
    release.write("train", [release.row(0, 1)], "NLVR2-0")
    release.write("test", [release.row(0, 1)], "NLVR2-0")
    record = next(record for _, record in release_records(release.folder) if record.task == "NLVR2-0")
    assert (record.source, record.category, record.metric) == ("NLVR2", "Visual Relation", "accuracy")


def test_the_revision_follows_the_content_and_not_the_place(release):
    before = ReleaseSource(str(release.folder)).revision
    moved = release.folder.rename(release.folder.parent / "moved")
    assert ReleaseSource(str(moved)).revision == before
    (moved / "dataset" / "Pets" / "test" / "dataset-0.json").write_text(json.dumps([release.row(1)]))
    assert ReleaseSource(str(moved)).revision != before


def refuses(release, *words: str) -> None:
    """Building says all of these words, in one sentence, and leaves no dataset."""
    out = release.folder.parent / "out"
    with pytest.raises(DrakeError) as caught:
        build(release.folder, out=out)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert [path.name for path in out.parent.iterdir()] == [release.folder.name]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DrakeError, match="nowhere"):
        build(tmp_path / "nowhere", out=tmp_path / "out")
    with pytest.raises(DrakeError, match="nowhere"):
        ReleaseSource(str(tmp_path / "nowhere"))


def test_a_folder_of_something_else_is_named(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DrakeError, match=r"photos is not laid out.*dataset-<k>\.json"):
        build(tmp_path / "photos", out=tmp_path / "out")


def test_json_that_is_no_list_names_the_file(release):
    refuses(release, str(release.write("train", {"records": []})), "dict", "list")


def test_broken_json_names_the_file(release):
    refuses(release, str(release.write("test", '[{"id": "0", ')), "not valid JSON")


def test_a_missing_picture_names_file_and_record(release):
    release.write("train", [release.row(0), release.row(9)])
    refuses(release, str(release.file("train")), "record 1 ", "9.png", "missing")


def test_a_wrong_number_of_image_marks_names_file_and_record(release):
    row = release.row(0, 1)
    row["conversations"][0]["value"] = "<image> Only one?"
    release.write("train", [release.row(0), row])
    refuses(release, str(release.file("train")), "record 1 ", "1 <image> for 2 images")


def test_a_truncated_picture_names_file_and_record(release):
    whole = png(5, size=64)
    release.picture("0.png").write_bytes(whole[: len(whole) * 2 // 3])
    refuses(release, str(release.file("train")), "record 0 ", "0.png", "cannot be decoded")


def test_what_is_no_picture_is_refused(release):
    release.picture("0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    refuses(release, "record 0 ", "0.png", "cannot be decoded", "is EPS (PostScript); it must be PNG, JPEG,")
    release.picture("0.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refuses(release, "record 0 ", "0.png", "cannot be decoded", "is a Git LFS pointer")


def test_a_picture_of_too_many_pixels_is_refused(release, monkeypatch):
    monkeypatch.setattr("drake.pictures.MOST_PIXELS", 30)  # a picture has 36
    refuses(release, "record 0 ", "0.png", "too many pixels")


@pytest.mark.parametrize(
    "path",
    [
        "dataset/../../secret.png",
        "../secret.png",
        "/etc/passwd",
        "{absolute}",
        "dataset/Pets/images/link.png",
        "Pets/images/0.png",
        "dataset/Pets/\0.png",
        "",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(release, path):
    outside = release.folder / "secret.png"
    outside.write_bytes(png(0))
    release.picture("link.png").symlink_to(outside)
    row = release.row(0)
    row["image"] = path.format(absolute=outside)
    release.write("train", [release.row(1), row])
    refuses(release, str(release.file("train")), "record 1 ", repr(row["image"]))


@pytest.mark.parametrize(
    "conversations",
    [
        None,
        [],
        [{"from": "human", "value": "<image>"}],
        [{"from": "gpt", "value": "cat"}, {"from": "human", "value": "<image>"}],
        [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": 3}],
        ["<image>", "cat"],
        7,
    ],
)
def test_anything_but_one_question_and_one_answer_is_refused(release, conversations):
    release.write("train", [release.row(0) | {"conversations": conversations}])
    refuses(release, str(release.file("train")), "record 0 ", "conversations")


def test_records_that_are_no_objects_and_images_that_are_no_paths_are_refused(release):
    release.write("train", ["cat"])
    refuses(release, str(release.file("train")), "record 0 ")
    release.write("train", [release.row(0) | {"image": {"path": "dataset/Pets/images/0.png"}}])
    refuses(release, str(release.file("train")), "record 0 ", "'image'")


def test_a_task_without_a_test_file_is_refused(release):
    release.file("test").unlink()
    refuses(release, "Pets-0", "test")


def test_a_task_with_test_records_only_is_unseen(release, tmp_path):
    release.write("test", [release.row(0)], "Pets-1")
    manifest = read_manifest(build(release.folder, out=tmp_path / "out"))
    assert (manifest.clients, manifest.unseen) == ((("Pets-0",),), ("Pets-1",))


def test_the_catalogs_clients_keep_their_tasks():
    official = clients()
    everything = [task for tasks in official for task in tasks]
    assert deal_tasks(reversed(everything)) == (official, "catalog")
    assert deal_tasks([*everything, "DreamSim-0"])[0] == official  # unseen in the catalog, so nobody's


def test_clients_lose_missing_tasks_and_unknown_tasks_make_further_clients():
    official = clients()
    present = [*official[0], official[3][2], official[3][1], *(f"Pets-{k}" for k in range(5))]
    dealt, how = deal_tasks(present)
    assert dealt == (
        official[0],
        (official[3][1], official[3][2]),
        ("Pets-0", "Pets-1", "Pets-2", "Pets-3"),
        ("Pets-4",),
    )
    assert how == "catalog (drake), as far as present"


def test_without_a_whole_client_tasks_are_dealt_in_turn():
    tasks = [f"Pets-{k:02d}" for k in range(23)]
    dealt, how = deal_tasks(tasks)
    assert len(dealt) == 10
    assert dealt[0] == ("Pets-00", "Pets-10", "Pets-20")
    assert sorted(task for client in dealt for task in client) == tasks
    assert "in turn" in how
    assert deal_tasks(["NLVR2-1", "NLVR2-0"])[0] == (("NLVR2-0",), ("NLVR2-1",))


class TestRealPictures:
    pytestmark = needs_fixture

    def test_the_sample_of_the_release_builds(self, tmp_path):
        out = build(FIXTURE, out=tmp_path / "built")
        manifest = read_manifest(out)
        assert manifest.clients == (("DreamSim-0",), ("NLVR2-0",), ("NLVR2-1",))
        assert "in turn" in manifest.dealt
        assert manifest.source == "release"

    def test_pictures_are_the_files_byte_for_byte(self):
        stored = {hashlib.sha256(path.read_bytes()).hexdigest() for path in FIXTURE.rglob("*.png")}
        records = [record for _, record in release_records(FIXTURE)]
        assert {len(record.images) for record in records} == {1, 2, 3}
        assert {hashlib.sha256(image).hexdigest() for record in records for image in record.images} <= stored

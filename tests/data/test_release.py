"""The official release as a folder: what becomes of its records, and one clear sentence for each thing wrong."""

import hashlib
import json
import os

import pytest
from build_samples import png

from drake.catalog import clients
from drake.data.building import build, deal_tasks
from drake.data.choices import record_choices
from drake.data.manifest import read_manifest
from drake.data.sources.release import ReleaseSource, release_records
from drake.errors import DrakeError


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
    monkeypatch.setattr("drake.data.pictures.MOST_PIXELS", 30)  # a picture has 36
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


def test_pictures_behind_links_to_a_named_folder_are_read(release, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    release.picture("0.png").rename(disk / "0.png")
    (disk / "1.png").write_bytes(png(99))  # has the name of a picture that is no link
    release.picture("0.png").symlink_to(disk / "0.png")
    with pytest.raises(DrakeError, match=r"record 0 .* a link that leads out of .*--links-to"):
        build(release.folder, out=tmp_path / "none")
    manifest = read_manifest(build(release.folder, out=tmp_path / "out", links_to=str(disk)))
    release.picture("0.png").unlink()
    (disk / "0.png").rename(release.picture("0.png"))
    assert manifest == read_manifest(build(release.folder, out=tmp_path / "again"))
    assert "links_to" not in manifest.parameters


def test_a_data_set_whose_folder_is_a_link_to_a_named_folder_is_read(release, tmp_path):
    (tmp_path / "disk").mkdir()
    before = read_manifest(build(release.folder, out=tmp_path / "before"))
    images = release.dataset / "Pets" / "images"
    images.rename(tmp_path / "disk/images")
    images.symlink_to(tmp_path / "disk/images")
    assert read_manifest(build(release.folder, out=tmp_path / "out", links_to=str(tmp_path / "disk"))) == before


def test_a_snapshot_of_the_hubs_cache_is_a_release(release, tmp_path):
    """It consists of links to blobs that lie beside it."""
    before = read_manifest(build(release.folder, out=tmp_path / "before"))
    repository = tmp_path / "datasets--x--y"
    (repository / "blobs").mkdir(parents=True)
    snapshot = release.folder.rename(repository / "snapshots")
    for path in [path for path in snapshot.rglob("*") if path.is_file()]:
        blob = path.rename(repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest())
        path.symlink_to(blob)
    assert read_manifest(build(snapshot, out=tmp_path / "out")) == before
    outside = tmp_path / "datasets--x--z"
    (repository / "blobs").rename(outside)
    (repository / "blobs").mkdir()
    with pytest.raises(DrakeError):
        build(snapshot, out=tmp_path / "none")


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


def test_a_release_may_be_named_as_such(release, tmp_path):
    by_name = build(f"release:{release.folder}", out=tmp_path / "named")
    by_path = build(str(release.folder), out=tmp_path / "path")
    assert read_manifest(by_name) == read_manifest(by_path)


def answered(release, answer: str, question: str) -> dict:
    row = release.row(0, question=question)
    row["conversations"][1]["value"] = answer
    return row


@pytest.mark.parametrize(
    ("choices", "answer", "expected"),
    [
        ("[A dog, running on sand., Snow]", "A dog, running on sand.", ("A dog, running on sand.", "Snow")),
        ("[Snow, A dog, running]", "A dog, running", ("Snow", "A dog, running")),
        ("[f[x], g[x], none]", "g[x]", ("f[x]", "g[x]", "none")),
        ("[是，否]", "是", ("是", "否")),
        ("[Yes, No]", "No", ("Yes", "No")),
        ("[Yes, No]", "Maybe", ("Yes", "No")),
        ("[dog house, cat]", "dog", ("dog house", "cat")),
    ],
)
def test_the_gold_answer_stays_whole_among_the_choices(choices, answer, expected):
    assert record_choices(f"<image>Which?\nChoice list:{choices}. Your answer is:", answer) == expected


@pytest.mark.timeout(60)  # in linear time a fraction of a second, in quadratic time many minutes
@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("[" + "a," * 100_000, 0),
        ("Choice list:[" * 20_000, 0),
        ("Choice list:[" + "a," * 100_000 + "]", 100_000),
    ],
    ids=["open bracket", "repeated opening", "long list"],
)
def test_a_prompt_of_many_brackets_and_commas_is_read_in_linear_time(prompt, count):
    assert len(record_choices(prompt, "b, b")) == count


def test_gold_answers_that_cannot_win_are_counted_and_told(release, tmp_path):
    question = "Who?\nChoice list:[cat, dog]. Your answer is:"
    good = [answered(release, "cat", question)] * 3
    release.write("train", [*good, answered(release, "Maybe", question)])
    told: list[str] = []
    manifest = read_manifest(build(release.folder, out=tmp_path / "out", warn=told.append))
    assert manifest.tasks["Pets-0"].gold_fails == {"official": 1, "strict": 1}
    (sentence,) = told
    assert "Pets-0: 1 gold answers are none of the choices" in sentence
    assert "'Maybe' of ['cat', 'dog']" in sentence
    assert "- Pets-0: 1 by protocol `strict`" in (tmp_path / "out/README.md").read_text()
    with pytest.warns(UserWarning, match="Pets-0: 1 gold answers"):
        build(release.folder, out=tmp_path / "again")


def metric_of(release, train: list[dict], test: list[dict]) -> str:
    release.write("train", train, "Pets-1")
    release.write("test", test, "Pets-1")
    return next(ReleaseSource(str(release.folder)).records("Pets-1", "train")).metric


def test_one_prompt_without_its_list_does_not_decide_the_metric(release):
    listed = [answered(release, "cat", "Who?\nChoice list:[cat, dog]. Your answer is:")] * 60
    assert metric_of(release, [*listed, answered(release, "cat", "Who?")], listed) == "accuracy"


def test_boxes_in_captions_are_no_choices(release):
    rows = [answered(release, "a dog on grass", "Describe [0.1, 0.2, 0.5, 0.9].")] * 5
    assert metric_of(release, rows, rows) == "token-F1"


def test_lists_in_train_and_none_in_test_are_refused(release):
    listed = [answered(release, "cat", "Who?\nChoice list:[cat, dog]. Your answer is:")] * 5
    with pytest.raises(DrakeError, match="Pets-1: 100% of the train prompts and 0% of the test prompts"):
        metric_of(release, listed, [answered(release, "cat", "Who?")] * 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [("", "empty answer"), ("see <image>", "<image> in its answer"), ("\ud83d?", "half a character")],
)
def test_an_answer_that_cannot_be_used_names_file_and_record(release, answer, message):
    row = answered(release, answer, "Who?\nChoice list:[cat, dog]. Your answer is:")
    release.write("train", [release.row(0), row])
    refuses(release, str(release.file("train")), "record 1 ", message)


def test_a_record_file_that_is_a_pipe_is_refused(release):
    release.file("train").unlink()
    os.mkfifo(release.file("train"))
    refuses(release, str(release.file("train")), "no regular file")


def test_a_record_of_very_many_pictures_is_refused_before_they_are_read(release):
    release.write("train", [release.row(0, *([1] * 100_000))])
    refuses(release, "record 0 ", "100,001 pictures")


def test_json_lines_are_told_from_broken_json(release):
    path = release.write("train", "\n".join(json.dumps(release.row(0)) for _ in range(2)))
    refuses(release, str(path), "JSON Lines")


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
    def test_the_sample_of_the_release_builds(self, tmp_path, release_layout):
        out = build(release_layout, out=tmp_path / "built")
        manifest = read_manifest(out)
        assert manifest.clients == (("DreamSim-0",), ("NLVR2-0",), ("NLVR2-1",))
        assert "in turn" in manifest.dealt
        assert manifest.source == "release"
        assert manifest.legacy_fingerprint == "e85e1fe6bc6922da48da32cfb390c4849502fd9a5d4c992aa6ee13d3a03bcb56"
        assert manifest.fingerprint == "6c55fd1aed48124375d176246f5e4c9f69f51a13c564a8f45ca78bfe586b920e"

    def test_pictures_are_the_files_byte_for_byte(self, release_layout):
        stored = {hashlib.sha256(path.read_bytes()).hexdigest() for path in release_layout.rglob("*.png")}
        records = [record for _, record in release_records(release_layout)]
        assert {len(record.images) for record in records} == {1, 2, 3}
        assert {hashlib.sha256(image).hexdigest() for record in records for image in record.images} <= stored

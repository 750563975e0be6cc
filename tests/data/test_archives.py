"""A release as tar archives: the same dataset as from the extracted folder, and nothing of a hostile archive."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from build_samples import Release, larger_release, png

import drake.data.sources.archive
from drake.data.building import build
from drake.data.manifest import read_manifest
from drake.data.sources.archive import Archive
from drake.data.sources.json_list import json_items
from drake.data.sources.release import ReleaseSource
from drake.errors import DrakeError


@pytest.mark.parametrize("prefix", ["", "./", "dataset/"])
def test_archives_give_the_dataset_that_the_extracted_folder_gives(tmp_path, prefix):
    release = larger_release(tmp_path / "release")
    archives = release.archives(tmp_path / "tars", prefix)
    of_folder = read_manifest(build(release.folder, out=tmp_path / "a"))
    assert read_manifest(build(archives, out=tmp_path / "b")) == of_folder
    assert set(of_folder.tasks) == {"Cars-0", "Maps-0", "Maps-1", "Pets-0"}
    assert of_folder.unseen == ("Maps-1",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "release", "tars"]


def test_one_archive_and_a_folder_of_both_kinds_are_releases_too(tmp_path):
    release = larger_release(tmp_path / "release")
    archives = release.archives(tmp_path / "tars")
    assert list(ReleaseSource(str(archives / "Maps.tar")).tasks()) == ["Maps-0", "Maps-1"]
    (release.dataset / "Maps").rename(tmp_path / "Maps")
    (archives / "Maps.tar").rename(release.dataset / "Maps.tar")
    assert list(ReleaseSource(str(release.folder)).tasks()) == ["Cars-0", "Maps-0", "Maps-1", "Pets-0"]
    (archives / "Cars.tar").rename(release.dataset / "Cars.tar")
    with pytest.raises(DrakeError, match="holds Cars twice"):
        ReleaseSource(str(release.folder))


def test_chosen_tasks_and_sources_alone_are_built(tmp_path):
    archives = larger_release(tmp_path / "release").archives(tmp_path / "tars")
    for source in (archives, tmp_path / "release"):
        manifest = read_manifest(build(source, out=tmp_path / f"of-{source.name}", tasks="Pets-0, Maps"))
        assert list(manifest.tasks) == ["Maps-0", "Maps-1", "Pets-0"]
        assert manifest.parameters == {"tasks": "Maps,Pets-0", "split": "dynamic"}
        with pytest.raises(DrakeError, match=r"'Carz-0'; did you mean 'Cars-0'"):
            build(source, out=tmp_path / "c", tasks="Carz-0")


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


ROW = Release.row(None, 0)  # type: ignore[arg-type]
SOUND = (
    member("Pets/images/0.png", png(0)),
    member("Pets/train/dataset-0.json", json.dumps([ROW]).encode()),
    member("Pets/test/dataset-0.json", json.dumps([ROW]).encode()),
)


def refused(path: Path, *words: str) -> None:
    """One sentence with these words, and nothing beside the archive."""
    there = sorted(path.parent.iterdir())
    with pytest.raises(DrakeError) as caught:
        build(path, out=path.parent / "out")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
    assert sorted(path.parent.iterdir()) == there


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (member("/etc/cron.d/x", b"x"), "'/etc/cron.d/x', which leads out"),
        (member("Pets/../../x", b"x"), "which leads out"),
        (member("Pets\\..\\x", b"x"), "which leads out"),
        (member("Pets/x", type=tarfile.SYMTYPE, linkname="../../secret"), "a link 'Pets/x' to '../../secret', out of"),
        (member("Pets/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link 'Pets/x' to '/etc/passwd', out of"),
        (member("Pets/x", type=tarfile.LNKTYPE, linkname="../secret"), "out of the archive"),
        (member("Pets/x", type=tarfile.CHRTYPE), "a device 'Pets/x'"),
        (member("Pets/x", type=tarfile.BLKTYPE), "a device 'Pets/x'"),
        (member("Pets/train/dataset-1.json", type=tarfile.FIFOTYPE), "a pipe 'Pets/train/dataset-1.json'"),
        (member("Pets/x", type=b"V"), "a member of type b'V'"),
        (member("Pets/" + "x" * 5000, b"x"), "a member with a name of 5,005 characters"),
        (member("Pets/x", type=tarfile.GNUTYPE_SPARSE), "sparse"),
    ],
)
def test_a_hostile_member_condemns_the_archive(tmp_path, hostile, message):
    refused(archive(tmp_path / "Pets.tar", *SOUND, hostile), "Pets.tar", message)


def test_an_archive_of_very_many_members_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "Pets.tar", *SOUND, *(member(f"Pets/{number}") for number in range(20)))
    monkeypatch.setattr(drake.data.sources.archive, "MOST_MEMBERS", 20)
    refused(path, "more than 20 members")


def test_headers_that_claim_to_be_enormous_or_negative_are_refused(tmp_path):
    path = archive(tmp_path / "Pets.tar", *SOUND, member("@LongLink", b"x" * 600, type=b"L"))
    content = bytearray(path.read_bytes())
    at = content.index(b"@LongLink")
    for size in (1 << 40, -1024):
        header = tarfile.TarInfo("@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, abs(size)
        content[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
        if size < 0:
            content[at + 124 : at + 136] = size.to_bytes(12, "big", signed=True)
            content[at + 148 : at + 156] = b" " * 8
            content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
        path.write_bytes(content)
        refused(path, "Pets.tar")


def test_an_archive_that_is_cut_off_damaged_compressed_or_none_is_refused(tmp_path):
    path = archive(tmp_path / "Pets.tar", *SOUND)
    whole = path.read_bytes()
    path.write_bytes(whole[:700])
    refused(path, "unexpected end of data")
    path.write_bytes(whole[: 1024 + 100])
    refused(path, "Pets.tar")
    path.write_bytes(whole[:1024] + b"\1" * 512 + whole[1536:])
    refused(path, "damaged at byte")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "Pets.tar", "x")
    refused(path, "compressed (gzip)")
    path.write_bytes(b"<html>not found</html>" * 100)
    refused(path, "cannot be read as a tar archive")
    path.write_bytes(b"")
    refused(path, "cannot be read as a tar archive")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DrakeError, match="is no regular file"):
        build(f"release:{path}", out=tmp_path / "out")


def test_an_archive_without_records_is_named(tmp_path):
    refused(archive(tmp_path / "Pets.tar", SOUND[0]), "Pets.tar", "holds no <name>/train/dataset-<k>.json")


def test_a_fault_of_a_record_names_archive_file_and_record(tmp_path):
    path = tmp_path / "Pets.tar"
    bad = ROW | {"image": "dataset/Pets/images/9.png"}
    archive(path, SOUND[0], SOUND[2], member("Pets/train/dataset-0.json", json.dumps([ROW, bad]).encode()))
    refused(path, f"{path}: Pets/train/dataset-0.json, record 1 ", "9.png' is missing in the archive")
    bad = ROW | {"image": "dataset/Pets/../../secret.png"}
    archive(path, SOUND[0], SOUND[2], member("Pets/train/dataset-0.json", json.dumps([bad]).encode()))
    refused(path, "record 0 ", "is missing in the archive")
    archive(path, member("Pets/images/0.png", png(0)[:-40]), *SOUND[1:])
    refused(path, "record 0 ", "0.png cannot be decoded")


def test_links_within_an_archive_and_other_spellings_are_followed(tmp_path):
    path = archive(
        tmp_path / "x.tar",
        member("a/b/one", b"1"),
        member("a/two", type=tarfile.SYMTYPE, linkname="b/../b/one"),
        member("three", type=tarfile.LNKTYPE, linkname="a/two"),
        member("loop", type=tarfile.SYMTYPE, linkname="loop"),
        member("nowhere", type=tarfile.SYMTYPE, linkname="a/gone"),
        member("cafe\u0301", b"accent"),
        member("a/b/one", b"the later one"),
    )
    found = Archive(path)
    assert {name: found.find(name) for name in ("a/two", "three")} == {"a/two": "a/b/one", "three": "a/b/one"}
    assert found.read("a/b/one") == b"the later one"
    assert found.find("loop") is found.find("nowhere") is found.find("gone") is None
    assert found.read(found.find("caf\u00e9") or "") == b"accent"
    assert found.open("a/b/one").read() == b"the later one"


@pytest.mark.parametrize("chunk", [4, 7, 1 << 20])
def test_a_json_list_is_read_item_by_item(monkeypatch, chunk):
    monkeypatch.setattr("drake.data.sources.json_list.CHUNK", chunk)
    items = [{"a": "é]}", "b": [1, {"c": None}]}, "text, with ] and \\", 12345, -1.5e3, True, None, [], {}]
    for text in (json.dumps(items), json.dumps(items, indent=2, ensure_ascii=False), "\ufeff" + json.dumps(items)):
        assert list(json_items(io.BytesIO(text.encode()), "x.json")) == items
    assert list(json_items(io.BytesIO(b" [ ] \n"), "x.json")) == []
    assert list(json_items(io.BytesIO(json.dumps(items).encode("utf-16")), "x.json")) == items


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"[1, 2", "',' or ']' is missing after item 1"),
        (b"[1 2]", "',' or ']' is missing after item 0"),
        (b'[{"a": 1}, {"b": ', "item 1"),
        (b"[1, ]", "item 1"),
        (b"[1] 2", "something follows the list"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1}', "a JSON dict where a list"),
        (b'{"a": 1}\n{"a": 2}\n', "JSON Lines"),
        (b"7", "a JSON int where a list"),
        (b'["\xff"]', "not valid JSON"),
        (b'["' + b"x" * 300 + b'"]', "within 100 characters"),
    ],
)
def test_what_is_no_json_list_is_one_sentence(monkeypatch, text, message):
    monkeypatch.setattr("drake.data.sources.json_list.CHUNK", 16)
    monkeypatch.setattr("drake.data.sources.json_list.MOST_ITEM", 100)
    if b"[[" in text:
        monkeypatch.setattr("drake.data.sources.json_list.MOST_ITEM", 1 << 20)
    with pytest.raises(DrakeError, match=message) as caught:
        list(json_items(io.BytesIO(text), "x.json"))
    assert "x.json" in str(caught.value)


def test_an_archive_is_indexed_once_for_a_build(tmp_path, monkeypatch):
    archives = larger_release(tmp_path / "release").archives(tmp_path / "tars")
    indexed: list[str] = []
    real = Archive._index
    monkeypatch.setattr(Archive, "_index", lambda self: (indexed.append(self.path.name), real(self))[1])
    build(archives, out=tmp_path / "out")
    assert indexed == ["Cars.tar", "Maps.tar", "Pets.tar"]

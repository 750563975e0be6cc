"""Files are whole or absent, and what the system refuses is one sentence."""

import os
import signal
from pathlib import Path

import pytest

from drake.common.files import check_folder, read_json_object, read_toml_table, remove_half_written, replacing
from drake.errors import DrakeError


def put(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "made" / "on the way" / "a.json"
    put(path, "old")
    put(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "a.json"
    put(path, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("ne")
        raise failure

    with pytest.raises(failure), replacing(path) as temporary:
        fail(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "reason"), [(PermissionError(13, "Permission denied"), "Permission denied"), (OSError("gone"), "gone")]
)
def test_what_the_system_refuses_names_the_file_and_the_reason(tmp_path, error, reason):
    path = tmp_path / "a.json"
    put(path, "old")
    with pytest.raises(DrakeError, match=rf"a\.json cannot be written \({reason}\); check"), replacing(path):
        raise error
    assert path.read_text() == "old"


def test_a_file_or_a_folder_in_the_way(tmp_path):
    put(tmp_path / "file", "text")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "a" / "b", tmp_path):
        with pytest.raises(DrakeError, match="cannot be written"):
            put(path, "more")


def test_a_folder_that_can_be_made_is_not_made(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    put(tmp_path / "file", "text")
    with pytest.raises(DrakeError, match=r"b cannot be written \(.*file is a file\)"):
        check_folder(tmp_path / "file" / "a" / "b")


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DrakeError, match=r"cannot be written \(Permission denied\)"):
        check_folder(tmp_path / "a")


def test_a_json_object_is_read_from_regular_files_alone(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": [1, "\\u00e9"]}')
    assert read_json_object(path) == {"a": [1, "é"]}
    os.mkfifo(tmp_path / "pipe")  # reading it would never end
    for nothing in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(DrakeError, match=r"is no file; restore it\.$"):
            read_json_object(nothing)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DrakeError, match=r"x\.json cannot be read as JSON \(.*\); restore it\.$"):
        read_json_object(path)


def test_names_of_thousands_of_parts_are_no_configuration(tmp_path):
    (tmp_path / "x.toml").write_text(".".join(["a"] * 2002) + " = 1\n")  # nests as deep, and takes long
    with pytest.raises(DrakeError, match="has more than 2000 dots"):
        read_toml_table(tmp_path / "x.toml")


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path):
    inner = tmp_path / "checkpoints" / "round-00001"
    inner.mkdir(parents=True)
    child = os.fork()
    if child == 0:  # killed while it writes
        with replacing(inner / "client-2.safetensors") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    for kept in (tmp_path / ".drake-run", inner / "client-1.safetensors", elsewhere / ".a.1.json"):
        kept.write_text("whole")
    (run := tmp_path / "checkpoints" / "link").symlink_to(elsewhere)
    assert [path.name for path in inner.glob(".*")] == [f".client-2.{child}.safetensors"]
    remove_half_written(tmp_path / "checkpoints")
    assert [path.name for path in inner.iterdir()] == ["client-1.safetensors"]
    assert (tmp_path / ".drake-run").exists()
    assert (run / ".a.1.json").exists()

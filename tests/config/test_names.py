"""Lists of names on the command line: commas separate them, but belong to the path of a folder that exists."""

from pathlib import Path

import pytest

from drake.config import resolve
from drake.config.values import names_from


@pytest.mark.parametrize("as_text", [True, False])
def test_a_comma_in_the_path_of_a_folder_belongs_to_it(tmp_path, as_text):
    folder = tmp_path / "lr=1e-3,rank=8,seed=0" / "client 3"
    folder.mkdir(parents=True)
    other = tmp_path / "plain"
    other.mkdir()
    if as_text:
        assert names_from(f"tiny-llama-s,{folder}, {other},llama1b", "--models") == (
            "tiny-llama-s", str(folder), str(other), "llama1b",
        )  # fmt: skip
    else:
        assert names_from(folder, "--models") == (str(folder),)
        assert names_from([folder, "llama1b"], "--models") == (str(folder), "llama1b")


def test_a_folder_with_a_comma_is_a_backbone(tmp_path):
    (tmp_path / "a,b").mkdir()
    config = resolve(flags={"method": "sft", "models": f"{tmp_path}/a,b"})
    assert config.models == (f"{tmp_path}/a,b",)


def test_names_without_such_a_folder_are_separated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names_from("a,b , c", "--models") == ("a", "b", "c")
    assert names_from("~nobody/a,\0,b" + 50 * ",x", "--models") == ("~nobody/a", "\0", "b", *50 * ["x"])
    Path("a").mkdir()
    Path("b").mkdir()
    assert names_from("a,b", "--models") == ("a", "b")

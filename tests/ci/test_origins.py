"""Every file that tests read says where it comes from, and files of others bring their licence."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["golden", "facts"])
def test_every_file_is_described_in_source_md(folder):
    described = (TESTS / folder / "SOURCE.md").read_text()
    files = {path.name for path in (TESTS / folder).iterdir()} - {"SOURCE.md"}
    assert files
    assert {name for name in files if f"`{name}`" not in described} == set()


def test_every_fixture_has_a_source_and_a_licence():
    folders = sorted((TESTS / "fixtures").iterdir())
    assert "release_layout" in [folder.name for folder in folders]
    for folder in folders:
        assert (folder / "SOURCE.md").is_file(), folder
        below = [path.name for path in folder.rglob("*")]
        assert any("licen" in name.lower() for name in below), folder

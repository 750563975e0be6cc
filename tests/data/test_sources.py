"""How a source is chosen by what a user types, and what every source shares."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from drake import Source
from drake.common.plugins import Registry
from drake.data.record import Record
from drake.data.sources import SOURCES, open_source
from drake.data.sources.base import NoOptions, checked_options
from drake.data.sources.mini.source import MiniSource
from drake.errors import DrakeError, UnknownName


def test_the_sources_that_come_along_are_registered():
    assert {"mini", "release", "folder", "hub"} <= set(SOURCES.names())
    assert SOURCES.find("mini") is MiniSource
    assert all(issubclass(SOURCES.find(name), Source) for name in SOURCES.names())


def test_listing_and_checking_names_imports_no_source():
    code = (
        "import sys; from drake.data.sources import SOURCES; SOURCES.check('mini'); "
        "heavy = {'numpy', 'PIL', 'pydantic', 'drake.data.sources.folder'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("mni", UnknownName, "'mni'; did you mean 'mini'"),
        ("relase:/data", UnknownName, "'relase'; did you mean 'release'"),
        ("relase:Data", UnknownName, "did you mean 'release'"),
        ("something", DrakeError, "no source is called 'something'.*drake.toml"),
        ("no/such/folder", DrakeError, "no source at no/such/folder"),
        ("mini:x", DrakeError, "takes no argument"),
        ("release", DrakeError, "needs the folder of the official release, or a tar archive of it: write release:PATH"),
        ("folder:", DrakeError, "needs a folder with a drake.toml"),
        ("release:no/such", DrakeError, "no folder no/such"),
        ("nowhere_at_all:Thing", DrakeError, "'nowhere_at_all:Thing' cannot be imported"),
        ("pathlib:Path", DrakeError, "is no subclass of drake.data.sources.base.Source"),
        ("pathlib:Nothing", DrakeError, "cannot be imported"),
    ],
)
def test_a_source_that_cannot_be_found_is_one_sentence(text, error, message):
    with pytest.raises(error, match=message) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Sizes:
    rows: int = 3
    share: float = 0.5
    title: str | None = None


class Numbers(Source):
    kind, name, licence, revision = "numbers", "Numbers", "mit", "1"
    Options = Sizes

    def tasks(self):
        return {"Numbers-0": ("train", "test")}

    def records(self, task, split):
        for number in range(self.options.rows):
            yield Record(f"{task}/{split}/{number}", task, "Numbers", "", (), f"{number}?", (), "1", "token-F1")


def test_options_are_typed_and_reach_the_manifest():
    source = Numbers(rows=2, share=1)
    assert source.parameters == {"rows": 2, "share": 1, "title": None}
    assert source.parts == 2
    assert [(split, record.id) for split, record in source.all_records()] == [
        ("train", "Numbers-0/train/0"),
        ("train", "Numbers-0/train/1"),
        ("test", "Numbers-0/test/0"),
        ("test", "Numbers-0/test/1"),
    ]
    assert open_source(source) is source
    with pytest.raises(DrakeError, match="its class the option 'rows'"):
        open_source(source, rows=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 1}, "unknown option of the source 'numbers' 'row'; did you mean 'rows'"),
        ({"rows": "3"}, "rows of the source 'numbers' must be int, not '3'"),
        ({"rows": True}, "must be int, not True"),
        ({"share": "a"}, "must be float"),
        ({"title": 3}, "must be str or NoneType"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(options, message):
    with pytest.raises(DrakeError, match=message):
        checked_options(Sizes, "numbers", options)
    with pytest.raises(DrakeError, match=message):
        Numbers(**options)


def test_an_option_that_a_source_does_not_have_is_refused(tmp_path):
    with pytest.raises(DrakeError, match="option of the source 'release' 'train'; known: links_to, tasks"):
        open_source(f"release:{tmp_path}", train=5)
    with pytest.raises(DrakeError, match="'numbers' has no options, so leave out 'train'"):
        checked_options(NoOptions, "numbers", {"train": 5})


def test_a_registry_names_the_nearest_member():
    with pytest.raises(UnknownName, match="unknown source 'foldr'; did you mean 'folder'"):
        Registry("drake.sources", "source", "drake.data.sources.base:Source").find("foldr")

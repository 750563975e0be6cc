"""Methods are found by the name they were published under, or by module and class."""

import sys

import pytest
from drake_baselines.sft import SFT
from drake_methods.fedmosaic import FedMosaic

from drake.errors import DrakeError, UnknownName
from drake.federation import registry
from drake.federation.method import Method

OWN = "from drake_baselines.sft import SFT\n\nclass Own(SFT):\n    pass\n\nNUMBER = 3\n\nclass Other:\n    pass\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on sys.path that holds the module own_method_for_a_test; gone from the interpreter afterwards."""
    (tmp_path / "own_method_for_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_method_for_a_test", None)


def test_the_methods_that_come_along_are_found():
    assert {"fedmosaic", "sft"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())
    assert registry.find("fedmosaic") is FedMosaic
    assert registry.find("sft") is SFT


def test_a_method_somebody_else_publishes_is_found_in_the_same_way(folder):
    published = folder / "own_method-1.0.dist-info"
    published.mkdir()
    (published / "METADATA").write_text("Metadata-Version: 2.1\nName: own-method\nVersion: 1.0\n")
    (published / "entry_points.txt").write_text("[drake.methods]\nown = own_method_for_a_test:Own\n")
    assert "own" in registry.names()
    assert "own_method_for_a_test" not in sys.modules
    registry.check("own")
    assert "own_method_for_a_test" not in sys.modules
    assert issubclass(registry.find("own"), Method)


def test_a_class_is_found_by_its_module_and_beside_the_user(folder, monkeypatch):
    assert registry.find("own_method_for_a_test:Own").__name__ == "Own"
    del sys.modules["own_method_for_a_test"]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(folder))])
    monkeypatch.chdir(folder)
    assert registry.find("own_method_for_a_test:Own").__name__ == "Own"


def test_a_near_miss_is_named():
    for ask in (registry.find, registry.check):
        with pytest.raises(UnknownName, match="unknown method 'fedmosiac'; did you mean 'fedmosaic'"):
            ask("fedmosiac")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("own_method_for_a_test:Other", "is no subclass of drake.federation.method.Method"),
        ("own_method_for_a_test:NUMBER", "is no subclass of drake.federation.method.Method"),
        ("own_method_for_a_test:Owl", "cannot be imported: .*Owl"),
        ("no_such_module_at_all:Own", "cannot be imported: No module named 'no_such_module_at_all'"),
    ],
)
def test_what_is_no_method_is_refused(folder, name, sentence):
    with pytest.raises(DrakeError, match=f"method '{name}' {sentence}"):
        registry.find(name)

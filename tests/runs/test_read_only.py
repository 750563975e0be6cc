"""A finished run is returned as it is: nothing is written, so a read-only folder opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drake.errors import DrakeError
from drake.results import load
from drake.runs import folder, run

Fabricate = Callable[..., Path]


def test_a_finished_run_is_opened_without_writing(fabricate: Fabricate, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = fabricate(seeds=(0, 1))
    setup = cast("Any", SimpleNamespace(config=SimpleNamespace(seeds=(0, 1)), identity=dict))

    def refuse(*_: object) -> None:
        raise AssertionError("the folder is written")

    monkeypatch.setattr(run, "claim", lambda *_: None)
    monkeypatch.setattr(run, "working", refuse)
    assert run.evaluate(setup, finished) == load(finished)
    setup.config.seeds = (0, 1, 2)
    with pytest.raises(AssertionError):
        run.evaluate(setup, finished)


def test_a_folder_that_cannot_be_locked_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="cannot be written"), folder.working(tmp_path / "gone"):
        pass

"""The board and `drake validate` with forged submissions among honest ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from drake_leaderboard import ranking, reviewed
from drake_leaderboard.commands import leaderboard, validate
from forging import Fabricate, falsify, put, sign

from drake.errors import DrakeError


def test_the_board_leaves_out_what_fails_and_goes_on(honest: Path, fabricate: Fabricate, cache: Path) -> None:
    forged, broken, run = (honest.with_name(name) for name in ("forged", "broken", "run"))
    for copied in (forged, broken):
        shutil.copytree(honest, copied)
    falsify(forged, put("runs", 0, "seconds_train", 0.0))
    (broken / "results.json").write_text("{")
    shutil.move(fabricate("mine"), run)
    for _ in range(2):  # the second time from the cache
        board = ranking.collect([honest.parent], published=False)
        (rows,) = board.tables.values()
        assert {row.origin: row.checked for row in rows} == {"honest": "re-scored", "run": "not checked"}
        assert [row.name for row in rows if row.origin == "honest"] == ["Fine-tuning"]
        assert len(board.left_out) == 2
        assert any("seconds of seed 0 are 0" in line for line in board.left_out)
        assert any("broken" in line for line in board.left_out)
    assert len(list(cache.glob("verdicts/*.json"))) == 2


def test_only_the_list_of_the_repository_makes_a_row_rerun(
    honest: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = reviewed.ticket_digest(honest)
    entry = {"name": "honest", "sha256": digest, "how": "rerun", "drake": "0.2.0", "date": "2026-01-01"}
    monkeypatch.setattr(reviewed, "reviews", lambda: {digest: reviewed.Review.model_validate(entry)})
    (rows,) = ranking.collect([honest], published=False).tables.values()
    assert rows[0].checked == "rerun"
    sign(honest, name="Changed afterwards")
    (rows,) = ranking.collect([honest], published=False).tables.values()
    assert rows[0].checked == "re-scored"


def test_validate_prints_a_sentence_for_each_finding(honest: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(honest.parent, before)
    shutil.copytree(honest, honest.with_name("forged"))
    falsify(honest.with_name("forged"), put("method", "batch", 64))
    (honest.parent / "stray").mkdir()

    def run(*arguments: object) -> tuple[int, list[str]]:
        found = CliRunner().invoke(validate, list(map(str, arguments)), catch_exceptions=False)
        return found.exit_code, found.output.splitlines()

    code, lines = run(honest)
    assert (code, lines[-1]) == (0, f"{honest}: every number follows from its answers.")
    code, lines = run(honest.parent)
    assert code == 1
    assert [line for line in lines if line.startswith("refused: ")] == [
        f"refused: {honest.with_name('forged')}: method.batch is 64, but micro_batch x accumulation is 8."
    ]
    code, lines = run(honest.parent, "--against", before)
    assert code == 1
    assert not any(line.startswith(f"{honest}: ") for line in lines)  # it did not change
    assert any(line.startswith("refused: ") and "stray holds no submission.json" in line for line in lines)
    assert run(before, "--against", before)[0] == 0


def test_the_board_command_says_what_it_left_out(honest: Path, cache: Path) -> None:
    falsify(honest, put("method", "batch", 64))
    found = CliRunner().invoke(leaderboard, [str(honest), "--no-published"], catch_exceptions=False)
    assert "method.batch is 64" in found.stderr
    assert "nothing to rank yet" in found.stdout


def test_a_complete_run_without_seeds_is_one_sentence_everywhere(honest: Path, tmp_path: Path) -> None:
    from drake.cli.main import drake

    falsify(honest, put("runs", []))
    converted = ["convert", honest, "--to", "every-eval-ever", "--model-id", "a/b", "--organization", "o"]
    for command in ([*converted, "--out", tmp_path / "eee"], ["unseen", honest], ["score", honest]):
        found = CliRunner().invoke(drake, [str(part) for part in command])
        assert isinstance(found.exception, DrakeError), found.exc_info
        assert "holds no seed" in str(found.exception)

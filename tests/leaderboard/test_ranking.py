"""Tracks, their order, and what the four formats say."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from drake_leaderboard import columns, entries, formats, ranking, terminal
from drake_leaderboard.commands import leaderboard, submit
from rich.console import Console

from drake.config import configure
from drake.errors import DrakeError
from drake.results import load
from drake.runs import Setup

Fabricate = Callable[..., Path]
TITLE = "DRAKE mini, dynamic, model, preset mini, evaluated after aggregation"
DETAILS = "Data f1f1f1f1f1f1f1f1, settings a50cc9da, backbones model (even:model)."


@pytest.fixture
def board(fabricate: Fabricate) -> ranking.Board:
    """Three runs in one track: "mid" and "best" are sought by score, "worst" was made first."""
    fabricate("a-worst", "sft", right=(0, 1))
    fabricate("b-best", "fedmosaic", right=(2, 4), sent=2500)
    runs = fabricate("c-mid", "dit|to", right=(1, 2), seeds=(0, 1)).parent
    return ranking.collect([runs], published=False)


def test_rows_are_ranked_by_self_at_the_last_point(board: ranking.Board) -> None:
    (track,) = board.tables
    assert [entry.method for entry in board.tables[track]] == ["fedmosaic", "dit|to", "sft"]
    assert (track.title, track.details) == (TITLE, DETAILS)
    assert board.left_out == []


def test_equal_self_is_settled_by_others(board: ranking.Board) -> None:
    (rows,) = board.tables.values()
    first = rows[0]
    better_others = {**first.scores, "others_last": first.scores["others_last"].model_copy(update={"mean": 2.0})}
    rival = entries.Row(**{**vars(first), "method": "zz", "scores": better_others})
    (order,) = ranking.ranked([first, rival]).values()
    assert [entry.method for entry in order] == ["zz", "fedmosaic"]


def test_traffic_and_time_are_per_client_and_round_and_per_seed(board: ranking.Board) -> None:
    (rows,) = board.tables.values()
    assert [entry.upload for entry in rows] == [2500, 1000, 1000]
    assert [entry.minutes for entry in rows] == [2.0, 2.0, 2.0]
    assert [entry.seeds for entry in rows] == [1, 2, 1]
    assert [entry.flops for entry in rows] == [1.5e12, 2e12, 1.5e12]


def test_markdown_holds_percent_with_two_decimals(board: ranking.Board, fabricate: Fabricate) -> None:
    text = formats.as_markdown(board)
    lines = text.splitlines()
    assert lines[0] == f"## {TITLE}"
    assert lines[2].startswith("| # | Method | Self A\\_last | Self A\\_AUC | Others A\\_last |")
    self_last = load(fabricate("d", right=(2, 4))).summary["official"]["self_last"].mean
    assert lines[4].startswith(f"| 1 | FedMosaic | {100 * self_last:.2f} |")
    assert "| 2.5 kB | 2.0 | 1.5 | not checked | b-best |" in lines[4]
    assert "| dit\\|to |" in lines[5]
    assert " ± " in lines[5]
    assert " ± " not in lines[4]
    assert {line.replace("\\|", "").count("|") for line in lines[2:7]} == {14}  # 13 columns: none is empty throughout


def test_csv_holds_fractions_and_plain_numbers(board: ranking.Board) -> None:
    rows = list(csv.DictReader(io.StringIO(formats.as_csv(board))))
    assert [row["method"] for row in rows] == ["fedmosaic", "dit|to", "sft"]
    (entries,) = board.tables.values()
    assert float(rows[0]["self_last"]) == entries[0].scores["self_last"].mean
    assert rows[0]["self_last_stderr"] == ""
    assert float(rows[1]["self_last_stderr"]) == entries[1].scores["self_last"].stderr > 0
    assert float(rows[0]["bytes_up_per_client_and_round"]) == 2500
    assert (rows[0]["rank"], rows[0]["preset"], rows[0]["published"]) == ("1", "mini", "False")


def test_a_narrow_terminal_drops_columns_and_says_so(board: ranking.Board) -> None:
    def shown(width: int) -> str:
        out = io.StringIO()
        Console(file=out, width=width).print(terminal.as_rich(board, width))
        return out.getvalue()

    narrow, wide = shown(80), shown(160)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "no room for Origin, Checked, TFLOP, Strict Self A_last" in narrow
    assert "no room" not in wide
    assert "b-best" in wide
    (rows,) = board.tables.values()
    score = columns.percent(rows[1].scores["self_last"])
    assert all(score in shown(width) for width in range(60, 161))  # on one line, error included
    assert terminal.as_text(board).splitlines()[0] == next(iter(board.tables)).title


def test_the_page_escapes_what_runs_call_themselves(fabricate: Fabricate) -> None:
    run = fabricate(method="<script>alert(1)</script>")
    page = formats.as_html(ranking.collect([run]))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<section") == page.count("<li>") == 1 + len({row.track for row in entries.published_rows()})
    assert "as published" in page
    assert "f1f1f1f1" not in "".join(re.findall("<h[123]>.*</h[123]>", page))


def test_published_results_stand_in_tracks_of_their_own_after_the_runs(fabricate: Fabricate) -> None:
    tables = ranking.collect([fabricate()]).tables
    assert [track.published for track in tables] == [False] + [True] * (len(tables) - 1)
    table = next(rows for track, rows in tables.items() if "Table 2" in track.title)
    assert (table[0].method, columns.percent(table[0].scores["self_last"])) == ("FedMosaic", "67.86 ± 0.51")
    assert [row.method for row in table[:3]] == ["FedMosaic", "FedIT", "SFT"]
    assert {columns.percent(row.scores["self_auc"]) for row in table} == {""}


def test_runs_on_other_data_or_presets_are_not_compared(fabricate: Fabricate) -> None:
    first, second = fabricate("one"), fabricate("two", preset="quick")
    third = fabricate("three", config={"eval_records": 4, "numbers": {"steps": 9}})
    assert len(ranking.collect([first, second, third], published=False).tables) == 3


@pytest.mark.parametrize(
    ("submission", "models"),
    [("mini-fedmosaic", "tiny-llama-s,tiny-llama-m"), ("mini-joint", "tiny-llama-s,tiny-llama-m")],
)
def test_a_new_run_of_preset_mini_is_compared_with_the_bundled_submissions(
    micro_data: str, submission: str, models: str
) -> None:
    """The micro dataset stands in for the mini suite; only the fingerprint of the data would differ."""
    setup = Setup(configure("sft", "mini", models=tuple(models.split(",")), data=micro_data, device="cpu"))
    bundled = load(ranking.default_paths()[0] / submission)
    new = bundled.model_copy(update={"config": json.loads(json.dumps(setup.identity()))})
    assert entries.row(new, "new").track == entries.row(bundled, "bundled").track


def test_runs_with_clients_that_were_out_are_a_track_of_their_own(fabricate: Fabricate) -> None:
    config = load(fabricate("older")).config
    full = fabricate("full", config=config | {"attendance": {"participation": 1.0, "dropout": 0.0, "deadline": None}})
    half = fabricate("half", config=config | {"attendance": {"participation": 0.5, "dropout": 0.0, "deadline": None}})
    assert len(ranking.collect([full.parent / "older", full], published=False).tables) == 1
    assert len(ranking.collect([full, half], published=False).tables) == 2


def test_an_unfinished_run_is_left_out_with_a_note(fabricate: Fabricate) -> None:
    board = ranking.collect([fabricate(status="interrupted")], published=False)
    assert board.tables == {}
    assert "is interrupted and not ranked" in board.left_out[0]


def test_a_folder_named_twice_counts_once(fabricate: Fabricate) -> None:
    run = fabricate()
    (rows,) = ranking.collect([run, run.parent], published=False).tables.values()
    assert len(rows) == 1


def test_a_path_without_results_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="is no folder"):
        ranking.collect([tmp_path / "absent"])
    with pytest.raises(DrakeError, match=r"holds no results\.json"):
        ranking.collect([tmp_path])


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (3e12, "3000.0 GB")],
)
def test_bytes_are_shown_with_decimal_units(count: float | None, shown: str) -> None:
    assert columns.readable_bytes(count) == shown


def test_the_commands_rank_and_submit(fabricate: Fabricate, tmp_path: Path) -> None:
    run, runner = fabricate("mine"), CliRunner()
    out = tmp_path / "board.html"
    shown = runner.invoke(leaderboard, [str(run), "--no-published"], catch_exceptions=False)
    assert "SFT" in shown.output
    written = runner.invoke(leaderboard, [str(run), "--format", "html", "--out", str(out)], catch_exceptions=False)
    assert written.output == f"wrote {out}\n"
    assert out.read_text().startswith("<!doctype html>")
    submitted = runner.invoke(submit, [str(run), "--out", str(tmp_path / "sub")], catch_exceptions=False)
    assert submitted.exit_code == 0
    again = runner.invoke(
        leaderboard, [str(tmp_path / "sub"), "--format", "csv", "--no-published"], catch_exceptions=False
    )
    assert len(again.output.splitlines()) == 2


def test_help_holds_an_example() -> None:
    for command in (leaderboard, submit):
        assert "Example:\n    drake" in CliRunner().invoke(command, ["--help"]).output

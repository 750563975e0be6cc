"""What the board derives from a whole track and its stored answers, on fabricated runs that can be computed by hand.

In the last point, `right` + seed of four answers to every question set are right. The two clients have two choice tasks
each but for one open-ended one, whose official F1 is (2 + 2 hits) / 9.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from drake_leaderboard import formats, names, ranking
from drake_leaderboard.columns import column_of, parts
from drake_leaderboard.commands import leaderboard
from drake_leaderboard.entries import Track, numbered
from drake_leaderboard.notes import notes
from drake_leaderboard.standing import comparable, judged, unique_labels, without_groups
from scipy import stats

from drake.errors import UnknownName
from drake.results import Estimate
from drake.results.comparison import answers_of

Fabricate = Callable[..., Path]
SEEDS = (0, 1, 2)


@pytest.fixture
def board(fabricate: Fabricate) -> ranking.Board:
    """One right answer more than SFT in every task and seed."""
    fabricate("alone", "sft", right=(0, 1), seeds=SEEDS)
    runs = fabricate("together", "fedmosaic", right=(1, 2), seeds=SEEDS, sent=2500).parent
    return judged(ranking.collect([runs], published=False))


def test_a_gain_computed_by_hand(board: ranking.Board) -> None:
    ((mosaic, sft),) = board.tables.values()
    # Client 0 gains 1/4 in both tasks, client 1 gains 1/4 and 2/9; no seed differs from another.
    clients = (1 / 4, (1 / 4 + 2 / 9) / 2)
    variance = (clients[0] - clients[1]) ** 2 / 2 / 2  # of the mean of two clients
    half = stats.t.ppf(0.975, 1) * variance**0.5
    assert mosaic.gain is not None
    assert mosaic.gain.mean == pytest.approx(sum(clients) / 2)
    assert (mosaic.gain.low, mosaic.gain.high) == pytest.approx((sum(clients) / 2 - half, sum(clients) / 2 + half))
    assert mosaic.better is not None
    assert (mosaic.better.better, mosaic.better.clients) == (2, 2)
    assert (mosaic.better.low, mosaic.better.high) == (pytest.approx(0.025**0.5), 1.0)
    assert (sft.gain, sft.better) == (None, None)


def test_the_worst_client_and_the_weighted_mean(board: ranking.Board) -> None:
    ((mosaic, _),) = board.tables.values()
    hits = [2, 3, 4]
    choices, words = [h / 4 for h in hits], [(2 + 2 * h) / 9 for h in hits]
    second = [(c + w) / 2 for c, w in zip(choices, words, strict=True)]
    assert mosaic.worst is not None
    assert mosaic.worst.mean == pytest.approx(sum(map(min, choices, second)) / 3)
    assert mosaic.weighted is not None
    assert mosaic.weighted.mean == pytest.approx(sum(3 * c + w for c, w in zip(choices, words, strict=True)) / 12)


def test_rows_that_differ_have_other_letters(board: ranking.Board) -> None:
    ((track, rows),) = board.tables.items()
    standing = board.standings[track]
    assert [entry.group for entry in rows] == ["a", "b"]
    (found,) = standing.differences
    assert (found.a, found.b) == ("FedMosaic", "SFT")
    assert found.p is not None
    assert found.p < 0.05
    assert standing.metrics == "Scores average accuracy on 3 tasks and token F1 on 1."
    assert notes(board, track)[:2] == [standing.metrics, standing.ties]
    assert "1 pairs" in standing.ties


def test_equal_rows_share_a_letter(fabricate: Fabricate) -> None:
    fabricate("one", "sft", seeds=SEEDS)
    runs = fabricate("two", "fedit", seeds=SEEDS).parent
    (rows,) = judged(ranking.collect([runs], published=False)).tables.values()
    assert [entry.group for entry in rows] == ["a", "a"]


def test_two_seeds_have_a_gain_but_neither_interval_nor_letter(fabricate: Fabricate) -> None:
    fabricate("alone", "sft", right=(0, 1), seeds=(0, 1))
    runs = fabricate("together", "fedit", right=(1, 2), seeds=SEEDS).parent
    (rows,) = judged(ranking.collect([runs], published=False)).tables.values()
    fedit = next(entry for entry in rows if entry.method == "fedit")
    assert [entry.group for entry in rows] == ["", ""]
    assert fedit.gain is not None
    assert fedit.gain.by_seed == pytest.approx(((1 / 4 + 17 / 72) / 2,) * 2)
    assert (fedit.gain.low, fedit.gain.p) == (None, None)


def test_rows_without_a_counterpart_show_nothing(fabricate: Fabricate) -> None:
    runs = fabricate("together", "fedit", seeds=SEEDS).parent
    fabricate("alone", "sft", seeds=(7, 8, 9))  # no seed in common
    (rows,) = judged(ranking.collect([runs], published=False)).tables.values()
    assert {(entry.gain, entry.better) for entry in rows} == {(None, None)}


def test_a_run_without_its_answers_keeps_its_row(fabricate: Fabricate) -> None:
    fabricate("alone", "sft", right=(0, 1), seeds=SEEDS)
    folder = fabricate("together", "fedit", right=(1, 2), seeds=SEEDS)
    shutil.rmtree(folder / "predictions")
    board = judged(ranking.collect([folder.parent], published=False))
    ((first, second),) = board.tables.values()
    assert (first.method, first.group, first.gain, first.weighted) == ("fedit", "", None, None)
    assert first.better is not None  # follows from the scores of clients
    assert second.weighted is not None


def test_the_rows_of_the_most_common_seeds_are_compared(fabricate: Fabricate) -> None:
    folders = [fabricate(f"run-{k}", "fedit", seeds=seeds) for k, seeds in enumerate([(7, 8, 9), SEEDS, (0, 1, 2, 3)])]
    runs = [entry.run for folder in folders for (entry,) in ranking.collect([folder], False).tables.values()]
    answers = {k: answers_of(folder, run) for k, (folder, run) in enumerate(zip(folders, runs, strict=True)) if run}
    assert comparable(answers) == [0]  # three sets of seeds once each: the first row decides
    assert comparable({**answers, 3: answers[1]}) == [1, 2, 3]


def test_the_front_leaves_out_what_is_no_federation(fabricate: Fabricate) -> None:
    fabricate("central", "joint", right=(2, 3), sent=0)
    fabricate("alone", "sft", right=(0, 1), sent=0)
    fabricate("dear", "fedit", right=(0, 1), sent=10)
    runs = fabricate("good", "ditto", right=(1, 2), sent=10).parent
    (rows,) = judged(ranking.collect([runs], published=False)).tables.values()
    assert {entry.method: entry.pareto for entry in rows} == {"joint": None, "sft": True, "fedit": False, "ditto": True}


def test_tables_are_ordered_by_any_column(board: ranking.Board) -> None:
    def methods(name: str) -> list[str]:
        (rows,) = ranking.by_column(board, name).tables.values()
        return [entry.method for entry in rows]

    assert methods("self_last") == ["fedmosaic", "sft"]
    assert methods("Sent/client/round") == ["sft", "fedmosaic"]
    assert methods("gain over SFT") == ["fedmosaic", "sft"]  # unknown last
    assert methods("origin") == ["sft", "fedmosaic"]
    with pytest.raises(UnknownName, match="did you mean 'worst_client'"):
        column_of("worst_clients")
    with pytest.raises(UnknownName):
        column_of("rank")


def test_unlike_tracks_of_one_title_get_a_number() -> None:
    track = Track(
        False, "DRAKE mini", "dynamic", "/home/me/llava-x + llama1b (even:llava-x)", "mini", "f" * 64, "1", "trained"
    )
    other = track._replace(numbers="2")
    title = "DRAKE mini, dynamic, llava-x + llama1b, preset mini, evaluated after local training"
    assert [found.title for found in numbered([track, other]).values()] == [title, f"{title} (2)"]
    assert other.details == f"Data {'f' * 16}, settings 2, backbones {other.models}."


def test_methods_are_written_as_people_write_them() -> None:
    written = ["FedMosaic", "DITTO", "SFT", "FedIT", "PerAda", "TAKFL", "FedMKT", "FedDAT", "FedSim", "FedDPA"]
    assert [names.display_name(name.lower()) for name in written] == written
    assert names.display_name("joint") == "Joint training"
    assert names.display_name("my_package:Mine") == "my_package:Mine"
    assert names.display_name("FedMosaic") == "FedMosaic (not registered)"


def test_rows_of_one_method_have_labels_of_their_own(board: ranking.Board) -> None:
    ((mosaic, sft),) = board.tables.values()
    labels = unique_labels([mosaic, sft, replace(mosaic, origin="x"), replace(mosaic, origin="x")])
    assert labels == ["FedMosaic (together)", "SFT", "FedMosaic (x)", "FedMosaic (x) 2"]


def test_what_federation_is_worth_is_a_table_of_its_own(board: ranking.Board) -> None:
    ((_, rows),) = board.tables.items()
    main, worth = parts(rows)
    assert [column.heading for column in worth.columns] == [
        "#", "Method", "Better off", "Gain over SFT", "Worst client", "Weighted Self", "Pareto front",
    ]  # fmt: skip
    assert worth.lines[0][2:4] == ["2 of 2 [16, 100]%", "+24.31 [15.48, 33.13]"]
    assert worth.lines[1][2:4] == ["", ""]
    assert "Tie group" in [column.heading for column in main.columns]
    assert "**What federation is worth**" in formats.as_markdown(board)
    assert "<h3>What federation is worth</h3>" in formats.as_html(board)


def test_after_the_aggregation_is_shown_where_it_was_measured(board: ranking.Board) -> None:
    ((track, (mosaic, sft)),) = board.tables.items()
    found = {"self_last": Estimate(mean=0.5, stderr=None, n=1), "others_last": Estimate(mean=0.25, stderr=None, n=1)}
    both = board._replace(tables={track: [replace(mosaic, aggregated=found), sft]})
    first, second = csv.DictReader(io.StringIO(formats.as_csv(both)))
    assert (first["aggregated_self_last"], first["aggregated_others_last"]) == ("0.5", "0.25")
    assert second["aggregated_self_last"] == ""


def test_json_holds_fractions_and_the_details(board: ranking.Board) -> None:
    (track,) = json.loads(formats.as_json(board))["tracks"]
    ((mosaic, _),) = board.tables.values()
    assert track["track"]["fingerprint"] == "f1" * 32
    assert track["title"] == "DRAKE mini, dynamic, model, preset mini, evaluated after aggregation"
    row = track["rows"][0]
    assert (row["method"], row["method_name"], row["tie_group"], row["pareto_front"]) == (
        "fedmosaic", "FedMosaic", "a", True,
    )  # fmt: skip
    assert row["gain_over_sft"] == mosaic.gain.mean
    assert track["rows"][1]["gain_over_sft"] is None
    assert (track["differences"][0]["a"], track["metrics"]) == (
        "FedMosaic",
        board.standings[next(iter(board.tables))].metrics,
    )


def test_latex_has_booktabs_and_plain_text(fabricate: Fabricate) -> None:
    text = formats.as_latex(ranking.collect([fabricate(method=r"[x] \input{a}_b & $c$")], published=False))
    assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\begin{table}") == 2
    assert r"1 & {[x] \textbackslash{}input\{a\}\_b \& \$c\$} & " in text
    assert "\\input" not in text
    assert r"Self A\_last" in text
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 4


def test_a_hostile_method_is_text_in_json(fabricate: Fabricate) -> None:
    name = '</script>é"}'
    text = formats.as_json(ranking.collect([fabricate(method=name)], published=False))
    assert text.isascii()
    assert "</script>" not in text
    assert json.loads(text)["tracks"][0]["rows"][0]["method"] == name


def test_the_command_sorts_and_draws(board: ranking.Board, tmp_path: Path) -> None:
    runs, figures = str(tmp_path / "runs"), tmp_path / "figures"
    args = [runs, "--no-published", "--format", "csv", "--sort", "pareto_front", "--plots", str(figures)]
    shown = CliRunner().invoke(leaderboard, args, catch_exceptions=False)
    assert shown.exit_code == 0
    assert sorted(path.name.rpartition("-")[2] for path in figures.iterdir()) == [
        "differences.png", "differences.svg", "ties.png", "ties.svg",
    ]  # fmt: skip
    without = CliRunner().invoke(leaderboard, [*args[:4], "--no-answers"], catch_exceptions=False)
    assert [row["tie_group"] for row in csv.DictReader(io.StringIO(without.stdout))] == ["", ""]
    assert CliRunner().invoke(leaderboard, [*args, "--no-answers"]).exit_code == 2


def test_answers_that_do_not_give_the_scores_decide_nothing(board: ranking.Board, fabricate: Fabricate) -> None:
    ((track, rows),) = board.tables.items()
    changed = [replace(entry, clients=dict.fromkeys(SEEDS, (0.5, 0.5)), group="") for entry in rows]
    found = judged(board._replace(tables={track: changed}))
    assert [(entry.group, entry.gain, entry.weighted) for entry in found.tables[track]] == [("", None, None)] * 2
    assert found.standings[track].metrics == ""


def test_a_track_of_other_metrics_says_why_it_has_no_tie_groups() -> None:
    def rows(*metrics: str) -> list[Any]:
        return [SimpleNamespace(run=SimpleNamespace(config={"metrics": list(metrics)}))] * 2

    assert without_groups(rows("accuracy", "Matthews", "ROUGE-L")) == (
        "No tie groups: differences are computed from answers by accuracy and token F1, and tasks of this track are "
        "scored by Matthews, ROUGE-L."
    )
    assert without_groups(rows("Matthews")[:1]) == without_groups(rows("accuracy", "token-F1")) == ""

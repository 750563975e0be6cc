"""Many runs as data frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import drake
from drake.results import load, save
from drake.results.schema import Traffic

Fabricate = Callable[..., Path]


@pytest.fixture
def runs(fabricate: Fabricate) -> Path:
    """SFT with two seeds, FedMosaic with one; two clients of two tasks, four questions a task, points 0 to 2."""
    fabricate("sft", seeds=(0, 1))
    return fabricate("fedmosaic", "fedmosaic", sent=2500).parent


def test_folders_lists_and_patterns_lead_to_the_same_runs(runs: Path) -> None:
    named = [runs / "fedmosaic", runs / "sft"]
    assert drake.load_results(runs).folders == tuple(named)
    assert drake.load_results(named[0]).folders == (named[0],)
    assert drake.load_results(str(runs / "*")).folders == tuple(named)
    assert drake.load_results(reversed(named)).folders == tuple(reversed(named))
    assert drake.load_results([runs / "sft", runs]).folders == (named[1], named[0])
    found = drake.load_results(f"{runs}/fed*")
    assert (len(found), found[0]) == (1, load(named[0]))


@pytest.mark.parametrize(("path", "sentence"), [("absent", "is no folder"), ("no*", "no folder matches")])
def test_paths_without_results_are_one_sentence(tmp_path: Path, path: str, sentence: str) -> None:
    with pytest.raises(drake.DrakeError, match=sentence):
        drake.load_results(tmp_path / path)
    with pytest.raises(drake.DrakeError, match=r"holds no results\.json"):
        drake.load_results(tmp_path)


def test_the_frame_of_scores_gives_the_averages_of_the_results(runs: Path) -> None:
    found = drake.load_results(runs)
    frame = found.to_dataframe()
    # three seeds, two protocols, two clients; 4 tasks before training, 2 at the first point, 4 at the second
    assert len(frame) == 3 * 2 * 2 * (4 + 2 + 4)
    last = frame[(frame.point == 2) & frame.own & frame.begun & (frame.protocol == "official") & (frame.seed == 0)]
    self_last = last.groupby(["method", "client"]).score.mean().groupby("method").mean()
    assert dict(self_last) == {run.method.name: run.runs[0].summary["official"].self_last for run in found}
    assert set(frame[frame.point == 0]["round"]) == {0}
    assert not frame[frame.point == 0].begun.any()
    first = frame.iloc[0]
    assert (first.run, first.model, first.task) == (str(runs / "fedmosaic"), "model", "Colour-0")


def test_the_frame_of_answers_has_one_row_per_answer(runs: Path) -> None:
    frame = drake.load_results(runs).to_dataframe("answers")
    assert len(frame) == 3 * 2 * 4 * (4 + 2 + 4)
    assert list(frame.columns[:5]) == ["run", "method", "seed", "point", "round"]
    choices = frame[frame.picked.notna() | (frame.text == "cloud")]
    mine = frame[(frame.run == str(runs / "fedmosaic")) & (frame.point == 2) & (frame.task == "Colour-1")]
    assert mine.correct.tolist() == [True, True, True, False] * 2
    assert set(choices.text) <= {"red", "blue", "green", "pink", "star", "ring", "cloud"}
    assert frame[frame.task == "Words-0"].correct.isna().all()


def test_the_frame_of_rounds_holds_losses_and_traffic(runs: Path) -> None:
    folder = runs / "fedmosaic"
    results = load(folder)
    results.runs[0].train_loss = [[1.0, None] for _ in results.runs[0].train_loss]
    results.runs[0].traffic.append(Traffic(round=0, client=1, direction="up", kind="alignment", bytes=7))
    save(results, folder)
    frame = drake.load_results(folder).to_dataframe("rounds")
    assert frame["round"].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert frame.iloc[0][["client", "bytes_up", "bytes_down"]].tolist() == [1, 7, 0]
    assert pd.isna(frame.iloc[0].loss)
    trained = frame[frame.client == 0]
    assert trained.loss.tolist() == [1.0] * 4
    assert trained.bytes_up.tolist() == trained.bytes_down.tolist() == [2500] * 4
    assert trained.mean_seconds.tolist() == [90 / 4] * 4
    assert frame[frame.client == 1].loss.isna().all()


def test_another_kind_is_one_sentence(runs: Path) -> None:
    with pytest.raises(drake.DrakeError, match="no data frame 'tasks'; choose one of scores, answers, rounds"):
        drake.load_results(runs).to_dataframe("tasks")  # type: ignore[arg-type]

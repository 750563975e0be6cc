"""The moment at which a run is evaluated: part of its identity and its results, the same bits whoever computes it, and
both moments in one run."""

import json

import pytest
from stopping import Stop

from drake.config import configure
from drake.errors import DrakeError
from drake.results import load, score
from drake.runs import Setup, evaluate
from drake.runs.api import execute
from drake.runs.folder import read_identity
from drake.scoring.predictions import read_predictions

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def asked(micro_backbones, micro_data):
    """(settings) -> a Config of FedIT, two rounds of four clients on two backbones, with a learning rate that moves the
    answers."""

    def made(**changes):
        numbers = {"steps": 2, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 3, "rounds": 2, "eval_every": 1}
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        fixed = {"models": models, "data": micro_data, "device": "cpu", "learning_rate": 0.3, "clients": 4}
        return configure("fedit", "quick", **numbers | fixed | changes)

    return made


@pytest.fixture(scope="module")
def both(asked, tmp_path_factory):
    """(folder, results) of a run that is scored at both moments."""
    folder = tmp_path_factory.mktemp("moments") / "both"
    return folder, evaluate(Setup(asked(evaluate_at="trained", also_aggregated=True)), folder)


def texts(folder, point):
    return [row.text for row in read_predictions(folder / f"predictions/seed-0/point-{point}.parquet")]


def test_a_run_can_be_scored_at_both_moments_and_trains_the_same(both, asked, micro_data, tmp_path):
    folder, results = both
    plain = evaluate(Setup(asked(evaluate_at="aggregated")), tmp_path / "plain")
    assert (results.evaluate_at, plain.evaluate_at) == ("trained", "aggregated")
    first, second = results.runs[0], plain.runs[0]
    assert first.train_loss == second.train_loss
    assert first.aggregated.scores == second.scores
    assert first.aggregated.summary == second.summary
    assert second.aggregated is None
    for point in (1, 2):
        assert texts(folder / "aggregated", point) == texts(tmp_path / "plain", point)
        assert texts(folder, point) != texts(tmp_path / "plain", point)
    assert load(folder) == results
    assert score(folder, micro_data).runs[0].aggregated == first.aggregated


@pytest.mark.parametrize("stop", [("round_trained", 2), ("evaluated", 2), ("round_aggregated", 2)])
def test_a_run_that_was_stopped_around_the_moment_goes_on_to_the_same_bits(both, asked, tmp_path, stop):
    folder, results = both
    assert texts(folder, 1) != texts(folder / "aggregated", 1)  # else either moment would do
    config = asked(evaluate_at="trained", also_aggregated=True)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Setup(config), tmp_path / "run", callbacks=[Stop(*stop)])
    again = evaluate(Setup(config), tmp_path / "run")
    for name in ("scores", "aggregated", "train_loss", "traffic"):
        assert getattr(again.runs[0], name) == getattr(results.runs[0], name)
    for point in (1, 2):
        assert texts(tmp_path / "run", point) == texts(folder, point)
        assert texts(tmp_path / "run/aggregated", point) == texts(folder / "aggregated", point)


def test_the_moment_is_part_of_what_a_run_is(both, asked):
    folder, results = both
    assert (read_identity(folder)["evaluate_at"], results.config["evaluate_at"]) == ("trained", "trained")
    with pytest.raises(DrakeError, match=r"evaluate_at \(\"trained\", now \"aggregated\"\)"):
        evaluate(Setup(asked(evaluate_at="aggregated", also_aggregated=False)), folder)
    with pytest.raises(DrakeError, match="--also-aggregated is for --evaluate-at trained"):
        asked(evaluate_at="aggregated", also_aggregated=True)
    assert json.loads((folder / "results.json").read_text())["evaluate_at"] == "trained"


def test_processes_answer_the_same_at_both_moments(both, asked, tmp_path):
    _, results = both
    config = asked(evaluate_at="trained", also_aggregated=True, engine="processes", workers=2)
    found = execute(Setup(config), tmp_path / "run")
    assert found.runs[0].scores == results.runs[0].scores
    assert found.runs[0].aggregated == results.runs[0].aggregated

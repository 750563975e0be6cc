"""experiments/agreement.py and client_transfer.py: the statistics on made-up numbers, and a whole small run."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import drake
from drake.config import configure
from drake.errors import DrakeError

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
import agreement
import client_transfer
from client_transfer import Pairs, interval


def test_the_papers_table_has_ten_methods_with_both_sides():
    assert len(agreement.published("self")) == len(agreement.published("others")) == 10
    assert agreement.published("self")["fedmosaic"] == 67.86


def test_tau_is_one_for_the_same_order_and_its_interval_widens_with_the_seeds(monkeypatch):
    monkeypatch.setattr(agreement, "RESAMPLES", 400)
    there = {name: float(k) for k, name in enumerate("abcdefghij")}
    same = {name: np.array([10 * value, 10 * value + 1]) for name, value in there.items()}
    assert agreement.tau(there, same) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    turned = {name: -seeds for name, seeds in same.items()}
    assert agreement.tau(there, turned)[0] == pytest.approx(-1)
    noisy = {name: value + np.array([-20.0, 0.0, 20.0]) for name, value in there.items()}
    value, low, high = agreement.tau(there, noisy)
    assert value == pytest.approx(1)
    assert low < 0.3 < high


def pairs(seeds=2, clients=6, sign=1.0):
    """Relevance and transfer that agree over the others of each client, whatever the client's own level."""
    rng = np.random.default_rng(0)
    same = np.zeros((clients, clients), dtype=bool)
    same[0, 1] = same[1, 0] = True
    found = Pairs(range(seeds), [2, 4], same)
    for seed in range(seeds):
        relevance = rng.normal(size=(2, clients, clients))
        level = rng.normal(scale=9, size=(2, clients, 1))
        found.relevance[seed], found.transfer[seed] = relevance, sign * relevance**3 + level
    return found


def test_the_correlation_is_taken_over_the_others_of_each_client():
    np.testing.assert_allclose(pairs().by_client(strangers=False), 1)
    np.testing.assert_allclose(pairs(sign=-1).by_client(strangers=True), -1)
    assert interval(pairs().by_client(strangers=False)) == pytest.approx((1, 1, 1))


def test_pairs_with_a_world_in_common_can_be_left_out():
    found = pairs()
    found.transfer[0][:, 0, 1] = 1e6 * np.sign(-found.relevance[0][:, 0, 1])  # spoils the pair that shares a world
    assert found.by_client(strangers=False)[0, 0] < 0.9
    assert found.by_client(strangers=True)[0, 0] == pytest.approx(1)


def test_the_interval_covers_the_mean_of_clients_and_seeds(monkeypatch):
    monkeypatch.setattr(client_transfer, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    covered = 0
    for draw in range(100):
        values = 0.3 + rng.normal(0, 0.2, (1, 10)) + rng.normal(0, 0.1, (3, 10))
        _, low, high = interval(values, seed=draw)
        covered += low <= 0.3 <= high
    assert covered / 100 > 0.85


@pytest.fixture(scope="module")
def run(micro_backbones, micro_data, tmp_path_factory):
    """A round of FedMosaic in which all four clients hold one backbone."""
    folder = tmp_path_factory.mktemp("transfer") / "run"
    config = configure(
        "fedmosaic", "quick", models=[micro_backbones["llama-4"]], data=micro_data, rounds=1, steps=1, eval_records=1,
        eval_records_others=1, threads=1, engine="serial", fedmosaic={"num_blocks": 2}, clients=4, micro_batch=2,
        max_new_tokens=1,
    )  # fmt: skip
    drake.evaluate(config=config, out=folder)
    return folder


def test_transfer_is_measured_from_every_client_to_every_other_and_written_down(run, tmp_path, monkeypatch):
    monkeypatch.setattr(client_transfer, "TEST_RECORDS", 2)
    config = configure("sft", file=run / "config.toml")
    found = client_transfer.measure(drake.results.load(run), config, told=lambda line: None)
    transfer = found.transfer[0]
    assert transfer.shape == (1, 4, 4)
    assert np.isnan(transfer[0].diagonal()).all()
    off = transfer[0][~np.eye(4, dtype=bool)]
    assert np.isfinite(off).all()
    assert off.std() > 0
    table = client_transfer.write(found, tmp_path)
    assert table.count("\n") == 3
    stored = json.loads((tmp_path / "transfer.json").read_text())
    assert stored["transfer"]["0"][0][3][3] is None
    assert stored["transfer"]["0"][0][3][2] == pytest.approx(transfer[0, 3, 2])
    assert (tmp_path / "relevance.png").exists()


def test_a_run_of_mixed_backbones_cannot_show_it(run):
    results = drake.results.load(run)
    mixed = results.model_copy(update={"models": results.models.model_copy(update={"names": ["a", "b"]})})
    with pytest.raises(DrakeError, match="the clients hold several backbones"):
        client_transfer.measure(mixed, configure("sft", file=run / "config.toml"))
    bare = [seed.model_copy(update={"relevance": None}) for seed in results.runs]
    with pytest.raises(DrakeError, match="has no relevance of every round"):
        client_transfer.measure(results.model_copy(update={"runs": bare}), configure("sft", file=run / "config.toml"))

"""The value of clients to one another: the repeated runs, the numbers made of them, and the command."""

import json
import tomllib
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

import drake
from drake import cli
from drake.config import configure
from drake.errors import DrakeError
from drake.results import load
from drake.tools.value import client_value, interval

TOGETHER = [[0.8, 0.6, 0.5], [0.7, 0.6, 0.3], [0.9, 0.6, 0.4]]
"""[seed][client]"""


def run(scores, status="complete"):
    seeds = [
        SimpleNamespace(seed=n, rounds=[2, 4], summary={"official": SimpleNamespace(clients_last=row)})
        for n, row in enumerate(scores)
    ]
    return SimpleNamespace(status=status, runs=seeds, clients=[SimpleNamespace(id=i) for i in range(len(scores[0]))])


def test_value_is_what_scores_lose_without_a_client_and_what_they_gain_over_being_alone():
    asked = {}

    def score(name, config):
        asked[name] = config
        absent = config.participation.absent
        # Without client 0 the others lose 10 points, without the others nothing changes; alone everyone has 30.
        lost = 0.1 if absent == (0,) else 0.0
        return run([[0.3] * 3] * 3 if len(absent) == 2 else [[a - lost for a in row] for row in TOGETHER])

    found = client_value(run(TOGETHER), configure("fedit", "quick", seeds=[0, 1, 2]), score)
    assert {name: config.participation.absent for name, config in asked.items()} == {
        "without-0": (0,), "without-1": (1,), "without-2": (2,), "alone-0": (1, 2), "alone-1": (0, 2),
        "alone-2": (0, 1),
    }  # fmt: skip
    assert {config.evaluation.every for config in asked.values()} == {4}
    np.testing.assert_allclose(found.presence[0], [[np.nan, 10, 10], [0, np.nan, 0], [0, 0, np.nan]], atol=1e-9)
    np.testing.assert_allclose(found.given, [[10, 0, 0]] * 3, atol=1e-9)
    np.testing.assert_allclose(found.gained, [[50, 30, 20], [40, 30, 0], [60, 30, 10]], atol=1e-9)


def test_the_interval_is_students_and_needs_three_seeds():
    found = interval(np.array([1.0, 2.0, 3.0]))
    assert found.mean == 2
    assert found.half == pytest.approx(4.302652729911275 / 3**0.5)
    assert interval(np.array([1.0, 3.0])).half is None


@pytest.mark.parametrize(
    ("made", "absent", "sentence"),
    [
        (run(TOGETHER, "interrupted"), (), "is not complete"),
        (run(TOGETHER), (2,), "never take part"),
        (run([[0.5]]), (), "or only one"),
    ],
)
def test_a_run_without_all_its_clients_has_no_value_to_measure(made, absent, sentence):
    config = configure("fedit", "quick").with_(**{"participation.absent": absent} if absent else {})
    with pytest.raises(DrakeError, match=sentence):
        client_value(made, config, lambda name, config: pytest.fail("nothing should be run"))


CLIENTS = 4
"""Of the run below."""


@pytest.fixture(scope="module")
def finished(micro_backbones, micro_data, tmp_path_factory):
    """A run in which client 0 alone takes part."""
    folder = tmp_path_factory.mktemp("value") / "run"
    config = configure(
        "fedit", "quick", models=[micro_backbones["llama-4"]], data=micro_data, rounds=1, steps=1, eval_records=1,
        threads=1, engine="serial", clients=CLIENTS,
    )  # fmt: skip
    drake.evaluate(config=config.with_(**{"participation.absent": range(1, CLIENTS)}), out=folder)
    return folder


def test_an_absent_client_never_trains_and_answers_as_the_bare_backbone(finished):
    found = load(finished)
    assert found.config["attendance"]["absent"] == list(range(1, CLIENTS))
    seed = found.runs[0]
    assert [loss is None for loss in seed.train_loss[0]] == [False, True, True, True]
    before, after = seed.zero_shot["official"], seed.scores["official"][-1]
    owned = [seed.tasks.index(client.tasks[0]) for client in found.clients]
    assert [after[i][k] for i, k in enumerate(owned) if i] == [before[i][k] for i, k in enumerate(owned) if i]


def test_the_command_repeats_a_run_without_each_client_and_alone(finished, monkeypatch):
    """Every repetition is prepared as a run of its own; its results are those of one run here, for 8 take long."""
    complete = load(finished)
    settings = tomllib.loads((finished / "config.toml").read_text())
    del settings["participation"]["absent"]
    (finished / "config.toml").write_text(tomli_w.dumps(settings))
    repeated = {}

    def execute(setup, out, callbacks):
        repeated[out] = setup.config.participation.absent
        return complete

    monkeypatch.setattr("drake.runs.api.execute", execute)
    monkeypatch.setattr("drake.runs.api.prepare", lambda config, out: SimpleNamespace(config=config))
    monkeypatch.setattr("drake.cli.live.Live", lambda console, setup: nullcontext())
    said = CliRunner().invoke(cli.drake, ["value", str(finished)], catch_exceptions=False)
    assert said.exit_code == 0
    folder = finished.with_name("run-value")
    assert repeated == {folder / f"without-{k}": (k,) for k in range(CLIENTS)} | {
        folder / f"alone-{k}": tuple(i for i in range(CLIENTS) if i != k) for k in range(CLIENTS)
    }
    found = json.loads((folder / "value.json").read_text())
    presence = found["presence"][0]
    assert presence == [[None if k == i else 0.0 for i in range(CLIENTS)] for k in range(CLIENTS)]
    assert found["gained"] == [[0.0] * CLIENTS]
    assert (folder / "value.png").exists()
    assert "Fewer than three seeds: no interval, and no verdict." in said.output


def test_absent_clients_must_be_clients_and_one_must_stay(micro_backbones, micro_data):
    from drake.runs.setup import Setup

    config = configure("fedit", "quick", models=[micro_backbones["llama-4"]], data=micro_data)
    with pytest.raises(DrakeError, match=r"participation.absent names client 99; the clients are 0 to \d+\."):
        Setup(config.with_(**{"participation.absent": (99,)}))
    with pytest.raises(DrakeError, match="names every client; leave one to train"):
        Setup(config.with_(**{"participation.absent": range(len(Setup(config).clients))}))

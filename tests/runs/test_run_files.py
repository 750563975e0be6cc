"""What a run folder keeps of its settings: a file that starts the same run again, and an identity nothing else has."""

import json

import pytest

import drake
from drake.config import configure, preset, resolve
from drake.errors import DrakeError
from drake.federation.callbacks import Callback
from drake.results import load
from drake.runs import Settings
from drake.runs.folder import config_of, read_identity, working
from drake.scoring.predictions import read_predictions

SMALL = {"rounds": 1, "steps": 1, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 3, "threads": 1, "clients": 4}


pytestmark = pytest.mark.usefixtures("undrawn")


class Losses(Callback):
    """Keeps the losses it is told."""

    def __init__(self) -> None:
        self.heard = []

    def client_trained(self, client):
        self.heard.append(client.loss)


@pytest.fixture(scope="module")
def run(micro_backbones, micro_data, tmp_path_factory):
    """(run folder, results, what a callback was told)."""
    out, losses = tmp_path_factory.mktemp("runs") / "first", Losses()
    where = {"models": [micro_backbones["llama-4"]], "data": micro_data, "device": "cpu", "engine": "serial"}
    results = drake.evaluate(
        "ditto", "quick", out=out, callbacks=[losses], ditto={"penalty": 0.5}, training={"dropout": 0.1}, **where,
        **SMALL,
    )  # fmt: skip
    return out, results, losses.heard


def bits(folder):
    found = load(folder).runs
    rows = [read_predictions(path) for path in sorted((folder / "predictions").rglob("*.parquet"))]
    return [(one.scores, one.zero_shot, one.train_loss, one.traffic) for one in found], rows


def test_evaluate_returns_what_is_stored_and_is_told_to_callbacks(run, capsys):
    out, results, heard = run
    assert results.status == "complete"
    assert load(out) == results
    assert sorted(heard) == sorted(results.runs[0].train_loss[0])
    assert results.method.options == {"penalty": 0.5, "average_personal": False}
    assert capsys.readouterr() == ("", "")


def test_the_file_in_a_run_folder_starts_the_same_run_again(run, tmp_path):
    out, results, _ = run
    drake.evaluate(config=out / "config.toml", out=tmp_path / "again")
    assert bits(tmp_path / "again") == bits(out)
    assert read_identity(tmp_path / "again") == read_identity(out) == results.config
    assert (tmp_path / "again/config.toml").read_bytes() == (out / "config.toml").read_bytes()


def test_a_finished_config_is_run_too_and_takes_no_method_beside_it(run):
    out, results, _ = run
    config = resolve(out / "config.toml")
    assert drake.evaluate(config=config, out=out) == results
    with pytest.raises(DrakeError, match="config is a finished Config"):
        drake.evaluate("sft", config=config, out=out)


def test_another_configuration_is_refused_and_the_difference_named(run):
    out, _, _ = run
    with pytest.raises(DrakeError, match=r"it differs in options.penalty \(0.5, now 0.25\)\)"):
        drake.evaluate(config=out / "config.toml", out=out, ditto={"penalty": 0.25})


def test_the_results_keep_the_settings_in_the_form_that_readers_of_schema_1_know(run):
    _, results, _ = run
    config = results.config
    assert config["numbers"]["training"] == {
        "rank": 8, "alpha": 16, "dropout": 0.1, "learning_rate": 0.001, "shared_learning_rate": 0.0025,
        "weight_decay": 0.0, "gradient_clip": 1.0, "steps": 1, "micro_batch": 2, "accumulation": 1,
    }  # fmt: skip
    assert json.dumps(config["numbers"]["training"]["alpha"]) == "16"  # the leaderboard tells 16 from 16.0
    assert config["attendance"] == {"participation": 1.0, "dropout": 0.0, "deadline": None}
    assert config["data"].keys() == {"fingerprint", "seed", "train", "test", "public_per_world"}
    assert (config["eval_records"], config["seeds"], config["split"]) == (1, [0], "dynamic")


def test_a_folder_of_an_earlier_version_is_read_but_not_continued(tmp_path):
    (tmp_path / ".drake-run").write_text("")
    (tmp_path / "config.json").write_text('{"method": "sft"}')
    (tmp_path / "command.json").write_text('{"method": "sft"}')
    with pytest.raises(DrakeError, match="of an earlier version of DRAKE, which cannot be continued; run it again"):
        config_of(tmp_path)
    assert read_identity(tmp_path) == {"method": "sft"}


def test_a_folder_without_a_run_has_no_configuration(tmp_path):
    with pytest.raises(DrakeError, match="holds no run that `drake eval` began"):
        config_of(tmp_path)


def test_the_settings_of_version_0_1_are_a_config_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"use drake\.config\.configure"):
        found = Settings("sft", preset("quick"), ("tiny-llama-s",), rounds=1)
    assert found == configure("sft", "quick", models=["tiny-llama-s"], rounds=1, device="cpu")


def test_whoever_works_on_a_run_first_deletes_what_a_killed_process_left_half_written(tmp_path):
    (tmp_path / ".drake-run").write_text("")
    (left := tmp_path / "checkpoints" / "seed-0" / "round-00001" / ".client-2.15876.safetensors").parent.mkdir(
        parents=True
    )
    left.write_text("half")
    with working(tmp_path):
        assert not left.exists()
    assert (tmp_path / ".drake-run").exists()

"""`drake eval --zero-shot`: bare backbones on every task, each scored once."""

import json

import pytest
from click.testing import CliRunner

from drake import cli
from drake.config import configure
from drake.errors import DrakeError
from drake.runs import Setup, evaluate
from drake.tools import zero_shot as room
from drake.tools.zero_shot import score_backbones


@pytest.fixture(scope="module")
def small(micro_data):
    """(models, method) -> the configuration of a short run."""
    numbers = {"eval_records": 2, "max_new_tokens": 4, "rounds": 1, "steps": 1, "micro_batch": 2}
    numbers |= {"data": micro_data, "device": "cpu"}
    return lambda models, method=None: configure(method, "quick", models=models, **numbers)


def test_zero_shot_scores_are_those_of_a_run_before_training(micro_backbones, small, tmp_path):
    model = micro_backbones["llama-4"]
    found = score_backbones(small([model]), tmp_path / "zero")[model]
    run = evaluate(Setup(small([model], "sft").with_(clients=4)), tmp_path / "run").runs[0]
    assert len(found) == 47  # the unseen tasks too
    assert [found[task] for task in run.tasks] == run.zero_shot["official"][0]


def test_a_backbone_that_is_done_is_not_scored_again(micro_backbones, small, tmp_path, monkeypatch):
    models = (micro_backbones["llama-4"], micro_backbones["qwen-4"])
    asked = small(models).with_(eval_records=1, max_new_tokens=1)
    first = score_backbones(asked, tmp_path / "zero")
    monkeypatch.setattr(room, "zero_shot", lambda *_: pytest.fail("scored again"))
    assert score_backbones(asked, tmp_path / "zero") == first
    assert json.loads((tmp_path / "zero" / "zero-shot.json").read_text())["scores"] == first
    with pytest.raises(DrakeError, match="already holds another run"):
        score_backbones(asked.with_(models=models[:1]), tmp_path / "zero")


def test_the_command_prints_a_table_and_refuses_what_belongs_to_training(micro_backbones, micro_data, tmp_path):
    asked = ["eval", "--zero-shot", "--models", micro_backbones["llama-4"], "--data", micro_data]
    asked += ["--eval-records", "1", "--set", "evaluation.max_new_tokens=1"]
    asked += ["--out", str(tmp_path / "zero"), "--threads", "1"]
    found = CliRunner().invoke(cli.drake, asked)
    assert found.exit_code == 0, found.output
    assert "NLVR2-0" in found.output
    refused = CliRunner().invoke(cli.drake, [*asked, "--method", "sft"])
    assert str(refused.exception) == "--zero-shot trains nothing; leave --method out."

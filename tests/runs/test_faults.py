"""A run that is killed with SIGKILL at ten random moments ends with the bits of the undisturbed one."""

import os
import random
import signal
import time

import pytest

from drake.config import configure
from drake.results import load
from drake.runs import Setup, evaluate

KILLS = 10


@pytest.fixture(scope="module")
def setup(micro_backbones, micro_data):
    numbers = {"steps": 2, "training.dropout": 0.05, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 4}
    numbers |= {"clients": 5}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    return Setup(configure("fedmosaic", "quick", models=models, data=micro_data, device="cpu", **numbers))


def bits(results):
    return [run.model_dump(exclude={"seconds_train", "seconds_aggregation", "seconds_eval"}) for run in results.runs]


def test_ten_kills_at_random_moments_change_nothing(setup, tmp_path):
    started = time.perf_counter()
    undisturbed = evaluate(setup, tmp_path / "whole")
    usual = time.perf_counter() - started
    rng = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:  # everything is loaded: a kill hits the work, not the start
            try:
                evaluate(setup, tmp_path / "killed")
            finally:
                os._exit(0)
        time.sleep(usual * rng.uniform(0.01, 0.1))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert killed == KILLS, "the run was over too soon for the kills to mean anything"
    found = evaluate(setup, tmp_path / "killed")
    assert bits(found) == bits(undisturbed)
    assert load(tmp_path / "killed") == found
    leftovers = [path for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".") and path.is_file()]
    assert [path.name for path in leftovers] == [".drake-run"]

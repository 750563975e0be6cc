"""The modules for the library `evaluate`: loaded offline from their folder, with the benchmark's own values."""

import evaluate
import pytest

from drake import DrakeError, evaluate_module


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """name -> the module, as an offline process without a cache loads it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_HUB_OFFLINE", "1")
        patched.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        cache = str(tmp_path_factory.mktemp("cache"))
        yield lambda name: evaluate.load(evaluate_module(name), cache_dir=cache)


def test_strict_is_the_accuracy_of_the_protocol(loaded):
    found = loaded("drake_strict").compute(
        predictions=["B", "a red dog", "Yes and No", ".5"],
        references=["B", "a red dog", "Yes", "5"],
        choices=[["A", "B"], ["a red dog", "a cat"], ["Yes", "No"], ["5", ".5"]],
    )
    assert found == {"accuracy": 0.5}


def test_token_f1_is_the_mean_of_the_answers(loaded):
    found = loaded("drake_token_f1").compute(
        predictions=["the red house", "1.5", "10:15"], references=["a red car", "15", "10:15"]
    )
    assert found["f1"] == pytest.approx((0.5 + 0 + 1) / 3)


def test_a_last_averages_tasks_then_clients_then_points(loaded):
    rows = [  # score, client, task, own, point
        (0.2, 0, "p", True, 1), (0.4, 0, "q", False, 1), (0.6, 1, "p", False, 1), (0.8, 1, "q", True, 1),
        (0.4, 0, "p", True, 2), (1.0, 0, "r", True, 2), (0.3, 0, "q", False, 2),
        (0.1, 1, "p", False, 2), (0.9, 1, "q", True, 2), (0.5, 1, "r", False, 2),
    ]  # fmt: skip
    columns = dict(
        zip(("scores", "clients", "tasks", "own", "points"), map(list, zip(*rows, strict=True)), strict=True)
    )
    found = loaded("drake_a_last").compute(**columns)
    assert found["self_last"] == pytest.approx(((0.4 + 1.0) / 2 + 0.9) / 2)
    assert found["self_auc"] == pytest.approx((0.5 + 0.8) / 2)
    assert found["others_last"] == pytest.approx((0.3 + 0.3) / 2)
    assert found["others_auc"] == pytest.approx((0.5 + 0.3) / 2)


def test_two_scores_of_one_cell_are_refused(loaded):
    twice = {"scores": [0.1, 0.2], "clients": [0, 0], "tasks": ["p", "p"], "own": [True, True], "points": [1, 1]}
    with pytest.raises(DrakeError, match="client 0 has two scores on task 'p' at point 1"):
        loaded("drake_a_last").compute(**twice)


def test_an_unknown_module_is_named():
    with pytest.raises(DrakeError, match=r"no evaluate module 'rouge'; there are drake_a_last, drake_strict"):
        evaluate_module("rouge")

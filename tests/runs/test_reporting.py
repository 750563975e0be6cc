"""What a run tells: events as lines of JSON, TensorBoard where it is installed."""

import json
import sys
from types import ModuleType

import pytest

from drake.config import configure
from drake.errors import DrakeError
from drake.runs import Reporter, Setup, evaluate
from drake.runs.reporting import Events, Several, TensorBoard


@pytest.fixture
def setup(micro_backbones, micro_data):
    numbers = {"steps": 1, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 2}
    numbers |= {"rounds": 1, "device": "cpu"}
    return Setup(configure("sft", "quick", models=[micro_backbones["llama-4"]], data=micro_data, **numbers))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_event_of_a_run_is_a_line_with_its_time(setup, tmp_path):
    results = evaluate(setup, tmp_path / "run")
    found = lines(tmp_path / "run" / "events.jsonl")
    assert [line["event"] for line in found] == [
        "started", "seed started", "evaluation started", "evaluated",
        *["client done"] * 10,
        "evaluation started", "evaluated", "round done",
    ]  # fmt: skip
    done = [line for line in found if line["event"] == "client done"]
    assert [(line["round"], line["client"], line["loss"]) for line in done] == [
        (1, client, loss) for client, loss in enumerate(results.runs[0].train_loss[0])
    ]
    assert found[-2]["self_last"] == results.runs[0].summary["official"].self_last
    assert [line["time"] for line in found] == sorted(line["time"] for line in found)


def test_a_line_cut_off_by_a_kill_is_ended_before_the_next(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "round done"}\n{"event": "cli')
    Events(path).round_done(2)
    whole, cut, new = path.read_text().splitlines()
    assert (whole, cut) == ('{"event": "round done"}', '{"event": "cli')
    assert json.loads(new) | {"time": None} == {"event": "round done", "seed": None, "round": 2, "time": None}


def test_several_reporters_hear_the_same(tmp_path):
    heard = []

    class Listener(Reporter):
        def __init__(self, name):
            self.name = name

        def client_done(self, round, client, loss):
            heard.append((self.name, round, client, loss))

    Several([Listener("a"), Listener("b")]).client_done(1, 2, 0.5)
    assert heard == [("a", 1, 2, 0.5), ("b", 1, 2, 0.5)]


def test_tensorboard_gets_losses_and_scores_and_forgets_what_is_done_again(setup, tmp_path, monkeypatch):
    written = {}

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written["made"] = (folder, purge_step)

        def add_scalar(self, name, value, step):
            written[name, step] = value

        def flush(self):
            written["flushed"] = True

    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    results = evaluate(setup, tmp_path / "run", reporter=TensorBoard(tmp_path / "board"))
    assert written["made"] == (str(tmp_path / "board" / "seed-0"), 1)
    assert written["loss/client 3", 1] == results.runs[0].train_loss[0][3]
    assert written["score/self_last", 1] == results.runs[0].summary["official"].self_last
    assert written["flushed"]


def test_tensorboard_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DrakeError, match="TensorBoard is not installed"):
        TensorBoard(tmp_path)

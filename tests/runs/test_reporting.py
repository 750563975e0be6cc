"""What a run tells: events as lines of JSON, TensorBoard where it is installed."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from drake.config import configure
from drake.errors import DrakeError
from drake.federation.callbacks import Callback, CallbackList, RoundContext, RunContext
from drake.runs import Setup, evaluate
from drake.runs.reporting import Events, TensorBoard, Trackio, WandB

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def setup(micro_backbones, micro_data):
    numbers = {"steps": 1, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 2}
    numbers |= {"rounds": 1, "device": "cpu", "clients": 4}
    return Setup(configure("sft", "quick", models=[micro_backbones["llama-4"]], data=micro_data, **numbers))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_event_of_a_run_is_a_line_with_its_time(setup, tmp_path):
    results = evaluate(setup, tmp_path / "run")
    found = lines(tmp_path / "run" / "events.jsonl")
    assert [line["event"] for line in found] == [
        "started", "seed started", "evaluation started", "evaluated",
        *["client done"] * 4,
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
    run = RunContext(SimpleNamespace(seed=3), None)
    Events(path).round_finished(RoundContext(run, 1, frozenset()))
    whole, cut, new = path.read_text().splitlines()
    assert (whole, cut) == ('{"event": "round done"}', '{"event": "cli')
    assert json.loads(new) | {"time": None} == {"event": "round done", "seed": 3, "round": 2, "time": None}


def test_callbacks_are_called_in_their_order():
    heard = []

    class Listener(Callback):
        def __init__(self, name):
            self.name = name

        def client_trained(self, client):
            heard.append((self.name, client))

    CallbackList([Listener("a"), Listener("b")]).client_trained("client 2")
    assert heard == [("a", "client 2"), ("b", "client 2")]


def test_every_hook_of_a_list_reaches_its_callbacks():
    hooks = [name for name, hook in vars(Callback).items() if callable(hook)]
    assert len(hooks) == 9
    for name in hooks:
        heard = []
        listener = Callback()
        setattr(listener, name, heard.append)
        getattr(CallbackList([listener]), name)("context")
        assert heard == ["context"], name


def test_tensorboard_gets_losses_and_scores_and_forgets_what_is_done_again(setup, tmp_path, monkeypatch):
    written = {}

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written["made"] = (folder, purge_step)

        def add_scalar(self, name, value, step):
            written[name, step] = value

        def flush(self):
            written["flushed"] = True

        def close(self):
            written["closed"] = True

    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    results = evaluate(setup, tmp_path / "run", callbacks=[TensorBoard(tmp_path / "board")])
    assert written["made"] == (str(tmp_path / "board" / "seed-0"), 1)
    assert written["loss/client 3", 1] == results.runs[0].train_loss[0][3]
    assert written["score/self_last", 1] == results.runs[0].summary["official"].self_last
    assert written["flushed"]
    assert written["closed"]


class FakeTracker(ModuleType):
    """Stands for wandb and trackio: keeps what they are told."""

    def __init__(self, name):
        super().__init__(name)
        self.runs, self.logged, self.finished = [], {}, 0

    def init(self, **settings):
        self.runs.append(settings)
        return self  # wandb logs to what `init` returns, trackio to the module

    def log(self, values, step):
        for name, value in values.items():
            self.logged[name, step] = value

    def finish(self):
        self.finished += 1


@pytest.fixture(scope="module")
def tracked(micro_backbones, micro_data, tmp_path_factory):
    """(package -> what it was told, results) of a run of two seeds with both trackers."""
    fakes = {package: FakeTracker(package) for package in ("wandb", "trackio")}
    numbers = {"steps": 1, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 2, "rounds": 1, "seeds": (4, 5)}
    numbers |= {"clients": 4}
    setup = Setup(configure("sft", "quick", models=(micro_backbones["llama-4"],), data=micro_data, **numbers))
    with pytest.MonkeyPatch.context() as patched:
        for package, fake in fakes.items():
            patched.setitem(sys.modules, package, fake)
        results = evaluate(setup, tmp_path_factory.mktemp("tracked") / "first", callbacks=[WandB(), Trackio()])
    return fakes, results


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_trackers_get_a_run_for_each_seed_with_its_config_losses_and_scores(tracked, package):
    fake, results = tracked[0][package], tracked[1]
    assert [run["name"] for run in fake.runs] == ["first seed 4", "first seed 5"]
    assert {run["group"] for run in fake.runs} == {"first"}
    assert {run["project"] for run in fake.runs} == {"drake"}
    assert [run["config"]["seed"] for run in fake.runs] == [4, 5]
    assert fake.runs[0]["config"]["method"] == "sft"
    assert fake.logged["loss/client 3", 1] == results.runs[1].train_loss[0][3]
    assert fake.logged["score/self_last", 1] == results.runs[1].summary["official"].self_last
    assert fake.finished == 2


@pytest.mark.parametrize(
    ("module", "callback", "sentence"),
    [
        (
            "torch.utils.tensorboard",
            TensorBoard,
            r"TensorBoard is not installed; pip install 'drake-bench\[tensor",
        ),
        ("wandb", WandB, r"Weights & Biases is not installed; pip install 'drake-bench\[wandb\]'"),
        ("trackio", Trackio, r"Trackio is not installed; pip install 'drake-bench\[trackio\]'"),
    ],
)
def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch, module, callback, sentence):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DrakeError, match=sentence):
        callback()

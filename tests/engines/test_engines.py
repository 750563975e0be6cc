"""Engines of several processes: the bits of the serial engine, lost processes, errors that say whose they are."""

import multiprocessing
import os
import pickle
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from drake.config import configure
from drake.engines.pool import TRIES
from drake.engines.processes import _dumps
from drake.engines.ray_cluster import Pool, pools
from drake.errors import DrakeError
from drake.federation.callbacks import Callback
from drake.runs import Setup, evaluate
from drake.runs.engines import opened, resolved

CLIENTS = {"small": 5, "large": 5}


def test_on_cpus_there_is_a_slot_per_core_but_none_without_a_client():
    assert pools(0, None, {}, CLIENTS, cores=4) == [Pool(4)]
    assert pools(0, None, {}, CLIENTS, cores=64) == [Pool(10)]
    assert pools(0, 3, {}, CLIENTS, cores=64) == [Pool(3)]


def test_on_gpus_there_is_a_slot_per_gpu_and_more_slots_share_them():
    assert pools(8, None, {}, CLIENTS, cores=64) == [Pool(8, 1.0)]
    assert pools(2, 4, {}, CLIENTS, cores=64) == [Pool(4, 0.5)]


def test_shares_give_each_backbone_slots_of_its_own_that_fit_the_gpus():
    found = pools(4, None, {"small": 0.25, "large": 0.5}, CLIENTS, cores=64)
    assert {pool.backbones: (pool.count, pool.gpus) for pool in found} == {
        frozenset(["large"]): (5, 0.5),
        frozenset(["small"]): (5, 0.25),
    }
    for gpus in (1, 2, 3, 8):
        of_gpus = pools(gpus, None, {"small": 0.25, "large": 0.5}, CLIENTS, cores=64)
        assert sum(pool.count * pool.gpus for pool in of_gpus) <= gpus
        assert all(1 <= pool.count <= 5 for pool in of_gpus)


def test_shares_that_make_no_sense_are_refused():
    with pytest.raises(DrakeError, match="computes on CPUs"):
        pools(0, None, {"small": 0.5}, CLIENTS, cores=4)
    with pytest.raises(DrakeError, match="the run uses small, large"):
        pools(1, None, {"small": 0.5}, CLIENTS, cores=4)
    with pytest.raises(DrakeError, match="must be above 0"):
        pools(1, None, {"small": 2.0, "large": 0.5}, CLIENTS, cores=4)
    with pytest.raises(DrakeError, match="too few"):
        pools(1, None, {"small": 0.7, "large": 0.5}, CLIENTS, cores=4)


@pytest.fixture(scope="module")
def setup(micro_backbones, micro_data):
    """Two rounds of FedMosaic of four clients on two architectures, with dropout."""
    numbers = {"steps": 2, "training.dropout": 0.05, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 2}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    numbers |= {"rounds": 2, "eval_every": 1, "clients": 4}
    return Setup(configure("fedmosaic", "quick", models=models, data=micro_data, device="cpu", **numbers))


@pytest.fixture(scope="module", params=["processes", "ray"])
def engines(request, setup):
    """(name of the engine, two slots of it)."""
    if request.param == "ray":
        pytest.importorskip("ray", reason="ray is not installed: the engine ray was NOT checked")
    with opened(request.param, setup, workers=2, threads=1) as engines:
        yield request.param, engines


@pytest.fixture(scope="module")
def alone(setup, tmp_path_factory):
    """The results of the serial engine."""
    return evaluate(setup, tmp_path_factory.mktemp("serial") / "run")


def bits(results):
    return [run.model_dump(exclude={"seconds_train", "seconds_aggregation", "seconds_eval"}) for run in results.runs]


def slots_of(engine: str) -> list[int]:
    """The pids of the slots of this process, or of this machine's ray."""
    if engine == "processes":
        return [child.pid for child in multiprocessing.active_children() if child.name == "drake slot"]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::_Process"):
                found.append(int(folder.name))
        except OSError:  # it has just ended
            continue
    return found


class _Killer(Callback):
    """Kills a slot when the second client of the second round is done."""

    def __init__(self, engine: str) -> None:
        self.engine, self.left, self.killed = engine, 6, 0

    def client_trained(self, client):
        self.left -= 1
        if self.left == 0:
            self.killed = slots_of(self.engine)[0]
            os.kill(self.killed, signal.SIGKILL)


def test_several_processes_give_the_bits_of_one_even_when_one_is_killed_in_a_round(setup, engines, alone, tmp_path):
    name, two = engines
    killer = _Killer(name)
    spread = evaluate(setup, tmp_path / "spread", engines=two, callbacks=[killer])
    assert killer.killed
    assert bits(spread) == bits(alone)
    assert (alone.environment.machine.processes, spread.environment.machine.processes) == (1, 2)


def task_class():
    """A class of its own each time, so that ray sends it by value: its processes cannot import a test."""

    @dataclass(frozen=True)
    class Doing:
        what: str
        backbone: str = ""
        weight: float = 1.0
        label: str = "client 7"

        def __call__(self, worker):
            if self.what == "refuse":
                raise DrakeError("record 'x' has no picture.")
            if self.what == "vanish":
                os._exit(1)
            return 1 / len(self.what)

    return Doing


OfThisModule = task_class()
OfThisModule.__qualname__ = "OfThisModule"  # so that a fork finds it by name


def test_errors_come_back_with_the_client_and_the_original_message(engines, monkeypatch):
    name, two = engines
    tries = TRIES if name == "processes" else 1  # a slot of ray takes seconds to start again
    monkeypatch.setattr("drake.engines.pool.TRIES", tries)
    Doing = task_class() if name == "ray" else OfThisModule
    engine = two.of_seed(0)
    with pytest.raises(DrakeError, match=r"^client 7: record 'x' has no picture\.$"):
        list(engine.run([Doing("refuse")]))
    with pytest.raises(RuntimeError, match=r"client 7 failed in another process:[\s\S]*ZeroDivisionError: division"):
        list(engine.run([Doing("")]))
    with pytest.raises(DrakeError, match=f"client 7: its process was lost {tries} times"):
        list(engine.run([Doing("vanish")]))
    assert list(engine.run([Doing("good")])) == [(0, 0.25)]  # the slots are there again


def test_an_unknown_setting_of_the_worker_is_found_before_any_process_starts(setup):
    with pytest.raises(DrakeError, match="computes on CPUs"), opened("ray", setup, shares={"x": 0.5}):
        raise AssertionError("opened with shares of GPUs that are not there")


def test_auto_forks_only_where_a_cpu_would_compute_with_several_threads(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    assert resolved("auto", "cpu", None) == "processes"
    assert resolved("auto", "cpu", 2) == "serial"
    assert resolved("auto", "cuda", None) == "serial"
    assert resolved("ray", "cpu", None) == "ray"
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert resolved("auto", "cpu", None) == "serial"


def test_tensors_cross_to_a_fork_and_back_bit_for_bit():
    first = torch.tensor([1e-40, float("inf"), -0.0], dtype=torch.float64)
    sent = {
        "a": first,
        "same": first,
        "half": torch.tensor([[1.5], [2.5]], dtype=torch.bfloat16).T,
        "n": torch.tensor(7),
    }
    found = pickle.loads(_dumps(sent))
    assert found["a"] is found["same"]
    for name, tensor in sent.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_slots_end_with_the_engine(setup):
    before = set(slots_of("processes"))  # those of the fixture
    with opened("processes", setup, workers=2) as two:
        two.of_seed(0)
        opened_here = set(slots_of("processes")) - before
        assert len(opened_here) == 2
    assert not opened_here & set(slots_of("processes"))

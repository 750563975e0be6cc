"""The engine ray: slots, the bits of the serial engine, lost processes, errors that say whose they are."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from drake.errors import DrakeError
from drake.federation.cluster import Pool, pools
from drake.federation.settings import preset
from drake.harness import Reporter, Settings, Setup, evaluate
from drake.harness.engines import opened, shares_from

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
    with pytest.raises(DrakeError, match="not of the form"):
        shares_from("small:1")


@pytest.fixture(scope="module")
def setup(micro_backbones, micro_data):
    """Two rounds of FedMosaic on two architectures, with dropout."""
    numbers = {"steps": 2, "dropout": 0.05, "micro_batch": 2, "eval_records": 2, "max_new_tokens": 4}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    return Setup(Settings("fedmosaic", preset("quick").with_(**numbers), models, micro_data, rounds=2, eval_every=1))


@pytest.fixture(scope="module")
def cluster(setup):
    pytest.importorskip("ray", reason="ray is not installed: the engine ray was NOT checked")
    with opened("ray", setup, workers=2, threads=1) as engines:
        yield engines


def bits(results):
    return [run.model_dump(exclude={"seconds_train", "seconds_eval"}) for run in results.runs]


def processes() -> list[int]:
    """The pids of the slots of this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::_Process"):
                found.append(int(folder.name))
        except OSError:  # it has just ended
            continue
    return found


class _Killer(Reporter):
    """Kills a slot when the third client of the second round is done."""

    left = 13
    killed = 0

    def client_done(self, round, client, loss):
        self.left -= 1
        if self.left == 0:
            pid = processes()[0]
            os.kill(pid, signal.SIGKILL)
            self.killed = pid


@pytest.mark.timeout(600)
def test_ray_gives_the_bits_of_serial_even_when_a_process_is_killed_in_the_middle_of_a_round(setup, cluster, tmp_path):
    alone = evaluate(setup, tmp_path / "serial")
    killer = _Killer()
    spread = evaluate(setup, tmp_path / "ray", engines=cluster, reporter=killer)
    assert killer.killed
    assert bits(spread) == bits(alone)
    assert (alone.environment.machine.processes, spread.environment.machine.processes) == (1, 2)


def test_errors_come_back_with_the_client_and_the_original_message(cluster):
    @dataclass(frozen=True)
    class Doing:  # defined here, so that it is sent by value
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

    engine = cluster.of_seed(0)
    with pytest.raises(DrakeError, match=r"^client 7: record 'x' has no picture\.$"):
        list(engine.run([Doing("refuse")]))
    with pytest.raises(RuntimeError, match=r"client 7 failed in a process of ray:[\s\S]*ZeroDivisionError: division"):
        list(engine.run([Doing("")]))
    with pytest.raises(DrakeError, match="client 7: its process was lost 3 times"):
        list(engine.run([Doing("vanish")]))
    assert list(engine.run([Doing("good")])) == [(0, 0.25)]  # the slots are there again


def test_an_unknown_setting_of_the_worker_is_found_before_any_process_starts(setup):
    with pytest.raises(DrakeError, match="computes on CPUs"), opened("ray", setup, shares={"x": 0.5}):
        raise AssertionError("opened with shares of GPUs that are not there")

"""The engine ray on several machines: two simulated nodes of one CPU each give the bits of one process."""

from dataclasses import dataclass

import pytest
import torch

from drake.config import configure
from drake.engines.tasks import ServerTask
from drake.federation.checkpoint import Checkpoints
from drake.runs import Setup, evaluate
from drake.runs.engines import Engines, opened
from drake.runs.folder import checkpoint_folder


@pytest.fixture
def two_nodes(monkeypatch):
    """The address of a cluster of two nodes, where RAY_ADDRESS leads the engine."""
    pytest.importorskip("ray", reason="ray is not installed: the engine ray on several nodes was NOT checked")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # its processes would wait for whatever else runs here
    size = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=size)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster.address
    finally:
        cluster.shutdown()


def place_task():
    """A class of its own, so that ray sends it by value: its processes cannot import a test."""

    @dataclass(frozen=True)
    class Place:
        backbone: str = ""
        weight: float = 1.0
        label: str = "where am I"

        def __call__(self, worker):
            import time

            import ray

            time.sleep(0.5)  # so that the other slot takes the other task
            return ray.get_runtime_context().get_node_id()

    return Place


class _Watched:
    """An engine that notes which works of the server its slots do."""

    def __init__(self, engine):
        self.worker, self.share, self._engine, self.works = engine.worker, engine.share, engine, []

    def run(self, tasks):
        self.works += [type(task.work).__name__ for task in tasks if isinstance(task, ServerTask)]
        return self._engine.run(tasks)


def test_two_nodes_train_and_distil_to_the_bits_of_one_process(two_nodes, micro_backbones, micro_data, tmp_path):
    numbers = {"steps": 2, "micro_batch": 1, "eval_records": 1, "max_new_tokens": 2, "rounds": 1, "clients": 2}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    numbers |= {"perada.records": 3, "training.dropout": 0.05, "threads": 1}
    setup = Setup(configure("perada", "quick", models=models, data=micro_data, device="cpu", **numbers))
    one = evaluate(setup, tmp_path / "one")
    with opened("ray", setup, threads=1) as engines:
        watched = _Watched(engines.of_seed(0))
        two = evaluate(setup, tmp_path / "two", engines=Engines(lambda seed: watched, engines.processes))
        Place = place_task()
        places = {place for _, place in engines.of_seed(0).run([Place(), Place()])}
    assert len(places) == 2  # a slot on each node
    assert watched.works.count("Lesson") == 2
    assert watched.works.count("Ensemble") > 0
    times = {"seconds_train", "seconds_aggregation", "seconds_eval"}
    assert [run.model_dump(exclude=times) for run in two.runs] == [run.model_dump(exclude=times) for run in one.runs]
    kept = [Checkpoints(checkpoint_folder(tmp_path / run, 0), "cpu").load() for run in ("one", "two")]
    for client in (0, 1):
        of_one, of_two = (progress.downloads[client].tensors for progress in kept)
        assert of_one.keys() == of_two.keys()
        assert all(torch.equal(of_one[name], of_two[name]) for name in of_one)

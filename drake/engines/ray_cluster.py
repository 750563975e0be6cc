"""The engine `ray`: slots on the GPUs of a machine or on the machines of a cluster. Results equal those of the serial
engine bit for bit. Needs `pip install drake-bench[ray]`.

A slot keeps every backbone that it has used. Nothing is sent outside the cluster: usage statistics are off and no
dashboard is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from drake.common.threads import use_threads
from drake.engines.pool import Lost, Slot, Slots, attempt
from drake.engines.serial import Shared
from drake.engines.tasks import Task
from drake.engines.worker import Worker
from drake.errors import DrakeError

T = TypeVar("T")

CARRIED = ("DRAKE_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_CACHE_HOME", "PYTHONPATH")
"""Prefixes of the environment variables that are passed on to processes on other machines."""


@dataclass(frozen=True)
class Pool:
    """Slots of one kind. backbones: those whose tasks they do; None for all. gpus: share of a GPU of each slot."""

    count: int
    gpus: float = 0.0
    backbones: frozenset[str] | None = None

    def serves(self, task: Task) -> bool:
        """Whether a slot of this pool may do the task."""
        return self.backbones is None or task.backbone in self.backbones


def pools(
    gpus: float, workers: int | None, shares: Mapping[str, float], clients: Mapping[str, int], cores: int
) -> list[Pool]:
    """The slots to open.

    gpus: in the cluster; 0 to compute on CPUs. workers: how many slots; None for one per GPU, or per core, but not more
    than clients. shares: backbone -> share of a GPU for a slot that holds it alone; empty for slots that hold all.
    clients: backbone -> number of clients.
    """
    total = sum(clients.values())
    if not gpus:
        if shares:
            raise DrakeError("shares of a GPU are given, but the run computes on CPUs; add --device cuda.")
        return [Pool(workers or max(1, min(cores, total)))]
    if not shares:
        count = workers or int(gpus)
        return [Pool(count, min(1.0, gpus / count))]
    if set(shares) != set(clients):
        raise DrakeError(f"GPU shares are given for {', '.join(sorted(shares))}, the run uses {', '.join(clients)}.")
    found = []
    left = gpus
    for number, (name, share) in enumerate(sorted(shares.items())):
        if not 0 < share <= 1:
            raise DrakeError(f"the GPU share of {name} is {share}; it must be above 0 and at most 1.")
        rest = sum(shares[other] for other in sorted(shares)[number + 1 :])
        wanted = gpus * clients[name] * share / sum(clients[other] * shares[other] for other in shares)
        count = max(1, min(clients[name], int((min(wanted, left - rest) + 1e-9) / share)))
        left -= count * share
        found.append(Pool(count, share, frozenset([name])))
    if left < -1e-9:
        raise DrakeError(f"the cluster has {gpus:g} GPUs, too few for one slot of every backbone at these shares.")
    return found


class Cluster:
    """Slots on this machine, or on the cluster that RAY_ADDRESS names, open inside `with`.

    make: seed -> Worker, called in every slot. threads: CPU threads of a slot. Other arguments: see `pools`.
    """

    def __init__(
        self,
        make: Callable[[int], Worker],
        *,
        clients: Mapping[str, int],
        workers: int | None = None,
        threads: int | None = None,
        cuda: bool = False,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15 would wait for whatever else runs here
        try:
            import ray
        except ImportError:
            raise DrakeError("the engine ray is not installed; pip install 'drake-bench[ray]'.") from None
        self._ray, self._make = ray, make
        self._clients, self._workers, self._threads = clients, workers, threads
        self._cuda, self._shares = cuda, shares or {}
        self.processes, self.threads = 0, threads or 1

    def __enter__(self) -> Cluster:
        ray, cores = self._ray, os.cpu_count() or 1
        try:
            if "RAY_ADDRESS" in os.environ:
                variables = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
                ray.init(log_to_driver=False, runtime_env={"env_vars": variables})
                gpus, cores = ray.cluster_resources().get("GPU", 0), int(ray.cluster_resources().get("CPU", 1))
                opened = self._pools(gpus, cores)
            else:
                gpus = torch.cuda.device_count() if self._cuda else 0
                opened = self._pools(gpus, cores)
                count = sum(pool.count for pool in opened)
                cpus = count * (self._threads or max(1, cores // count))
                ray.init(
                    address="local",  # a cluster of this run's own, whatever others run on this machine
                    num_cpus=cpus,
                    num_gpus=gpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise DrakeError(f"ray cannot start or be reached ({error}).") from error
        self.processes = sum(pool.count for pool in opened)
        self.threads = self._threads or max(1, cores // self.processes)
        self._slots = [_Actor(ray, self._make, pool, self.threads) for pool in opened for _ in range(pool.count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def engine(self, worker: Worker) -> Ray:
        """The engine of the seed of `worker`, this process's own."""
        return Ray(self._ray, self._slots, worker)

    def _pools(self, gpus: float, cores: int) -> list[Pool]:
        if self._cuda and not gpus:
            raise DrakeError("the cluster has no GPU; leave --device cuda out or start ray where GPUs are.")
        return pools(gpus if self._cuda else 0, self._workers, self._shares, self._clients, cores)


class Ray(Slots[Any]):
    """An engine over the slots of a Cluster."""

    def __init__(self, ray: Any, slots: Sequence[_Actor], worker: Worker) -> None:
        super().__init__(worker, slots)
        self._ray = ray

    def wait(self, running: Sequence[Any], seconds: float) -> Sequence[Any]:
        return self._ray.wait(list(running), timeout=seconds)[0]

    def take(self, ticket: Any) -> Any:
        try:
            return self._ray.get(ticket)
        except self._ray.exceptions.RayTaskError as error:
            raise RuntimeError("a task could not be begun in a process of ray.") from error
        except self._ray.exceptions.RayError as error:  # the process, its machine, or the way to it
            raise Lost(str(error).splitlines()[0]) from error

    def share(self, value: T) -> Shared[T]:
        return _Reference(self._ray.put(value))


class _Reference(Shared[T]):
    """A value in the cluster's object store."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def get(self) -> T:
        import ray

        return ray.get(self._reference)


class _Actor(Slot[Any]):
    """A slot that is a Ray actor."""

    def __init__(self, ray: Any, make: Callable[[int], Worker], pool: Pool, threads: int) -> None:
        self._pool = pool
        self._open = lambda: ray.remote(_Process).options(num_cpus=threads, num_gpus=pool.gpus).remote(make, threads)
        self._process = self._open()

    def serves(self, task: Task) -> bool:
        return self._pool.serves(task)

    def begin(self, seed: int, task: Task) -> Any:
        return self._process.perform.remote(seed, task)

    def replace(self) -> None:
        self._process = self._open()


class _Process:
    """The actor that runs in a slot."""

    def __init__(self, make: Callable[[int], Worker], threads: int) -> None:
        use_threads(threads)
        self._make, self._worker = make, None

    def perform(self, seed: int, task: Task) -> Any:
        if self._worker is None or self._worker.federation.seed != seed:
            self._worker = self._make(seed)
        return attempt(task, self._worker)

"""The engine `ray`: tasks spread over processes, the GPUs of a machine, the machines of a cluster, to the bits of the
serial engine. Needs `pip install drake-bench[ray]`.

A slot is a process that stays, with every backbone it has met resident, and does one task at a time; the longest tasks
go first. A slot that is lost is replaced and its task done again. Nothing leaves the cluster: usage statistics are off
and no dashboard is opened.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from drake.errors import DrakeError
from drake.federation.engine import Shared, Task, Worker, moved, perform
from drake.stopping import safe_point

T = TypeVar("T")

TRIES = 3
"""How often a task is begun before its loss ends the run."""

CARRIED = ("DRAKE_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_CACHE_HOME", "PYTHONPATH")
"""Variables (by their beginning) that processes on other machines get from this one."""


@dataclass(frozen=True)
class Pool:
    """Slots of one kind. backbones: whose tasks they do; None for all. gpus: share of a GPU that each one takes."""

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
                    num_cpus=cpus, num_gpus=gpus, include_dashboard=False, log_to_driver=False, configure_logging=False
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise DrakeError(f"ray cannot start or be reached ({error}).") from error
        self.processes = sum(pool.count for pool in opened)
        self.threads = self._threads or max(1, cores // self.processes)
        self._slots = [_Slot(ray, self._make, pool, self.threads) for pool in opened for _ in range(pool.count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def engine(self, seed: int, worker: Worker) -> Ray:
        """The engine of one seed; `worker` is this process's own."""
        return Ray(self._ray, self._slots, seed, worker)

    def _pools(self, gpus: float, cores: int) -> list[Pool]:
        if self._cuda and not gpus:
            raise DrakeError("the cluster has no GPU; leave --device cuda out or start ray where GPUs are.")
        return pools(gpus if self._cuda else 0, self._workers, self._shares, self._clients, cores)


class Ray:
    """An engine over the slots of a Cluster."""

    def __init__(self, ray: Any, slots: Sequence[_Slot], seed: int, worker: Worker) -> None:
        self.worker = worker
        self._ray, self._slots, self._seed = ray, slots, seed

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        waiting = sorted(range(len(tasks)), key=lambda index: (-tasks[index].weight, index))
        idle, running, begun = list(self._slots), {}, [0] * len(tasks)
        while waiting or running:
            for slot in list(idle):
                index = next((index for index in waiting if slot.pool.serves(tasks[index])), None)
                if index is not None:
                    begun[index] += 1
                    waiting.remove(index)
                    idle.remove(slot)
                    running[slot.begin(self._seed, tasks[index])] = slot, index
            done, _ = self._ray.wait(list(running), timeout=0.5)
            safe_point()
            for reference in done:
                slot, index = running.pop(reference)
                idle.append(slot)
                try:
                    result = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:  # before the task itself had begun
                    raise RuntimeError(f"{tasks[index].label} could not be begun in a process of ray.") from error
                except self._ray.exceptions.RayError as error:  # the process, its machine, or the way to it
                    if begun[index] == TRIES:
                        raise DrakeError(
                            f"{tasks[index].label}: its process was lost {TRIES} times, most often for want of memory "
                            f"({str(error).splitlines()[0]})."
                        ) from error
                    slot.replace()
                    waiting.insert(0, index)
                    continue
                if isinstance(result, _Failure):
                    result.raise_for(tasks[index])
                yield index, result

    def share(self, value: T) -> Shared[T]:
        return _Reference(self._ray.put(value))


class _Reference(Shared[T]):
    """A value in the cluster's object store."""

    def get(self) -> T:
        import ray

        return ray.get(self._value)


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a slot. expected: a DrakeError, whose sentence says it all."""

    message: str
    expected: bool

    def raise_for(self, task: Task) -> None:
        if self.expected:
            raise DrakeError(self.message)
        raise RuntimeError(f"{task.label} failed in a process of ray:\n{self.message}")


class _Slot:
    """A remote process, and how to open it again."""

    def __init__(self, ray: Any, make: Callable[[int], Worker], pool: Pool, threads: int) -> None:
        self.pool = pool
        self._open = lambda: ray.remote(_Process).options(num_cpus=threads, num_gpus=pool.gpus).remote(make, threads)
        self._process = self._open()

    def begin(self, seed: int, task: Task) -> Any:
        return self._process.perform.remote(seed, task)

    def replace(self) -> None:
        self._process = self._open()


class _Process:
    """What runs in a slot."""

    def __init__(self, make: Callable[[int], Worker], threads: int) -> None:
        torch.set_num_threads(threads)
        self._make, self._worker = make, None

    def perform(self, seed: int, task: Task) -> Any:
        try:
            if self._worker is None or self._worker.federation.seed != seed:
                self._worker = self._make(seed)
            return moved(perform(task, self._worker), "cpu")
        except DrakeError as error:
            return _Failure(str(error), True)
        except Exception:
            return _Failure(traceback.format_exc(), False)

"""The engine of a run by name: what `--engine`, `--workers` and `--gpu-share` ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from drake.common.threads import threads as threads_in_use
from drake.common.threads import use_threads
from drake.engines import processes
from drake.engines.serial import Engine, Serial
from drake.errors import DrakeError
from drake.runs.setup import Setup, WorkerFactory


@dataclass(frozen=True)
class Engines:
    """seed -> where the tasks of this seed are done. processes: how many do them side by side, for the record."""

    of_seed: Callable[[int], Engine]
    processes: int = 1


def serial(setup: Setup) -> Engines:
    """Everything in this process."""
    return Engines(lambda seed: Serial(setup.worker(seed)))


def resolved(name: str, device: str, threads: int | None) -> str:
    """What "auto" means: processes where a CPU would compute with several threads, which serve small models worse."""
    if name != "auto":
        return name
    several = threads is None and threads_in_use() > 1
    return "processes" if several and device == "cpu" and processes.available() else "serial"


@contextmanager
def opened(
    name: str,
    setup: Setup,
    workers: int | None = None,
    threads: int | None = None,
    shares: Mapping[str, float] | None = None,
) -> Iterator[Engines]:
    """The engine `name`, closed at the end. The other arguments are those of `cluster.Cluster`."""
    name = resolved(name, setup.device, threads)
    if name == "serial":
        yield serial(setup)
        return
    if name == "processes":
        with _forked(setup, workers, threads) as engines:
            yield engines
        return
    from drake.engines.ray_cluster import Cluster

    cuda = setup.device.startswith("cuda")
    config = setup.config.with_(device="cuda" if cuda else "cpu")  # a slot sees its own GPU alone
    clients = Counter(client.backbone for client in setup.clients)
    make = WorkerFactory(config)
    with Cluster(make, clients=clients, workers=workers, threads=threads, cuda=cuda, shares=shares) as cluster:
        use_threads(cluster.threads)  # aggregation must match the processes bit for bit
        yield Engines(lambda seed: cluster.engine(setup.worker(seed)), cluster.processes)


@contextmanager
def _forked(setup: Setup, workers: int | None, threads: int | None) -> Iterator[Engines]:
    if setup.device != "cpu" or not processes.available():
        raise DrakeError("the engine processes runs on CPUs under Linux alone; use serial or ray.")
    if threads not in (None, 1):
        raise DrakeError("the engine processes computes with one thread in each; leave --threads out.")
    count = workers or min(threads_in_use(), len(setup.clients))
    use_threads(1)  # aggregation must match the processes bit for bit, and forking a process with threads is unsafe
    opened: list[processes.Processes] = []

    def of_seed(seed: int) -> Engine:
        while opened:
            opened.pop().close()
        opened.append(processes.Processes(setup.worker(seed), count))
        return opened[0]

    try:
        yield Engines(of_seed, count)
    finally:
        while opened:
            opened.pop().close()

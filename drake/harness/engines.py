"""The engine of a run by name: what `--engine`, `--workers` and `--gpu-share` ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from drake.errors import DrakeError
from drake.federation.engine import Engine, Serial

from .setup import Setup, WorkerFactory


@dataclass(frozen=True)
class Engines:
    """seed -> where the tasks of this seed are done. processes: how many do them side by side, for the record."""

    of_seed: Callable[[int], Engine]
    processes: int = 1


def serial(setup: Setup) -> Engines:
    """Everything in this process."""
    return Engines(lambda seed: Serial(setup.worker(seed)))


@contextmanager
def opened(
    name: str,
    setup: Setup,
    workers: int | None = None,
    threads: int | None = None,
    shares: Mapping[str, float] | None = None,
) -> Iterator[Engines]:
    """The engine `name`, closed at the end. The other arguments are those of `cluster.Cluster`."""
    if name == "serial":
        yield serial(setup)
        return
    from drake.federation.cluster import Cluster

    cuda = setup.device.startswith("cuda")
    settings = replace(setup.settings, device="cuda" if cuda else "cpu")  # a slot sees its own GPU alone
    clients = Counter(client.backbone for client in setup.clients)
    make = WorkerFactory(settings)
    with Cluster(make, clients=clients, workers=workers, threads=threads, cuda=cuda, shares=shares) as cluster:
        torch.set_num_threads(cluster.threads)  # the server's part must have the same bits as theirs
        yield Engines(lambda seed: cluster.engine(seed, setup.worker(seed)), cluster.processes)


def shares_from(text: str | None) -> dict[str, float]:
    """ "llama1b=0.25,llama3b=0.5" -> {"llama1b": 0.25, "llama3b": 0.5}. DrakeError for another shape."""
    found = {}
    for part in (text or "").split(",") if text else []:
        name, _, share = part.strip().partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise DrakeError(f"--gpu-share {text!r} is not of the form llama1b=0.25,llama3b=0.5.") from None
    return found

"""The engine `processes`: slots forked from this process, one for each CPU core. Results equal those of the serial
engine bit for bit.

A fork shares the memory of this process, so it starts at once with everything loaded. No GPU may be in use, because its
state does not survive a fork. Slots end with this process, also when it is killed: the pipe that they read closes.
"""

from __future__ import annotations

import io
import multiprocessing
import pickle
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from drake.common.threads import use_threads
from drake.engines.pool import Lost, Slot, Slots, attempt
from drake.engines.serial import Shared
from drake.engines.tasks import Task
from drake.engines.worker import Worker

T = TypeVar("T")


def available() -> bool:
    """Whether forking is safe here: macOS can fork, but its libraries do not survive it."""
    return sys.platform.startswith("linux")


class Processes(Slots["_Fork"]):
    """`count` slots with one thread each. Close it when the seed is done."""

    def __init__(self, worker: Worker, count: int) -> None:
        self._forks = [_Fork(worker) for _ in range(count)]
        super().__init__(worker, self._forks)
        self._folder = tempfile.TemporaryDirectory(prefix="drake-")
        self._shared = 0

    def close(self) -> None:
        """End the slots."""
        for slot in self._forks:
            slot.end()
        self._folder.cleanup()

    def wait(self, running: Sequence[_Fork], seconds: float) -> list[_Fork]:
        ready = set(wait([slot.pipe for slot in running], seconds))
        return [slot for slot in running if slot.pipe in ready]

    def take(self, ticket: _Fork) -> Any:
        try:
            return pickle.loads(ticket.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise Lost(f"exit code {ticket.exit_code()}") from error

    def share(self, value: T) -> Shared[T]:
        path = Path(self._folder.name) / str(self._shared)
        self._shared += 1
        path.write_bytes(_dumps(value))
        return _Stored(path)


class _Stored(Shared[T]):
    """A value in a file that only this process and its forks can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self) -> T:
        return _stored(self._path)


@lru_cache(maxsize=4)  # the backbones of a federation take turns
def _stored(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


class _Fork(Slot["_Fork"]):
    """A forked process and the pipe to it; its own ticket, since it does one task at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.replace()

    def begin(self, seed: int, task: Task) -> _Fork:
        with suppress(OSError):  # it died idle; the wait finds the closed pipe
            self.pipe.send_bytes(_dumps(task))
        return self

    def replace(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(
            target=_serve, args=(theirs, self.pipe, self._worker), name="drake slot", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe closes when the process ends

    def exit_code(self) -> int | None:
        self._process.join(1)
        return self._process.exitcode

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, parents: Connection, worker: Worker) -> None:
    parents.close()  # the fork's copy of the other end: with it open, this process would outlive its parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches everyone; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    use_threads(1)
    while True:
        try:
            task = pickle.loads(pipe.recv_bytes())
            pipe.send_bytes(_dumps(attempt(task, worker)))
        except (EOFError, OSError):  # the parent is gone
            return


class _Pickler(pickle.Pickler):
    """Tensors as plain bytes: PyTorch's own way takes a tenth of a millisecond for each."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return _tensor, (flat.numpy(), value.dtype, tuple(value.shape))
        return NotImplemented


def _tensor(data: np.ndarray, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(data.copy()).view(dtype).reshape(shape)


def _dumps(value: Any) -> bytes:
    written = io.BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(value)
    return written.getvalue()

"""Several processes that draw the worlds of the mini suite. Only `suite` calls this.

The processes are started as `python -c`, not through `multiprocessing`: a process that it spawns runs the user's main
script again, which fails without an `if __name__ == "__main__"` guard, and one that it forks inherits locks held by
threads that the child does not have (torch starts threads).

A worker reads one JSON line per world and answers with a pickle of the records, or of the error. The pickle is safe:
both ends are the same program.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue

from drake.data.sources.mini.suite import Sizes, WorldRecords, records_of_world
from drake.errors import DrakeError

_COMMAND = "from drake.data.sources.mini.processes import serve; serve()"


def drawn_worlds(seed: int, sizes: Sizes, sources: Sequence[str], workers: int) -> Iterator[WorldRecords]:
    """The records of every world, in the order of `sources`; drawn in this process if `workers` is 1."""
    workers = min(workers, len(sources))
    if workers <= 1 or not sys.executable:
        yield from (records_of_world(seed, sizes, source) for source in sources)
        return
    started: list[subprocess.Popen[bytes]] = []
    try:
        idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for _ in range(workers):
            started.append(_start())
            idle.put(started[-1])

        def draw(source: str) -> WorldRecords:
            worker = idle.get()
            try:
                return _ask(worker, seed, sizes, source)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(workers) as threads:
            try:
                yield from threads.map(draw, sources)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                _end(started)  # otherwise the threads would wait for them
                raise
    finally:
        _end(started)


def serve() -> None:
    """The main function of a worker: draw the world named by each line of standard input."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # other output must not come between the pickles
    for line in sys.stdin.buffer:
        seed, sizes, source = json.loads(line)
        try:
            reply: WorldRecords | Exception = records_of_world(seed, Sizes(*sizes), source)
        except Exception as error:
            reply = error
        pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()


def _start() -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def _ask(worker: subprocess.Popen[bytes], seed: int, sizes: Sizes, source: str) -> WorldRecords:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(json.dumps([seed, sizes, source]).encode() + b"\n")
        worker.stdin.flush()
        reply = pickle.load(worker.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise DrakeError(
            f"a process that draws the mini suite ended early (exit code {worker.poll()}); free some memory, or build "
            "with workers=1."
        ) from error
    if isinstance(reply, Exception):
        raise reply
    return reply


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # closing sends what is still buffered
                    stream.close()

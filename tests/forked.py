"""Runs `drake` in a process of its own that has torch and transformers imported already.

A command spends most of a short test importing them. Here one server per pytest process imports them once and forks for
every command, which is otherwise like one typed in a shell: its own process, arguments, environment, output and exit
code.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

IMPORTED = ["datasets", "pandas", "peft", "torch", "transformers.models.llava.modeling_llava", "drake.cli"]
OFFLINE = {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(IMPORTED)


def run_drake(arguments: Sequence[str], timeout: float = 250) -> subprocess.CompletedProcess[str]:
    """What `drake ARGUMENTS` says and ends with; raises subprocess.TimeoutExpired after `timeout` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _server.Process(target=_command, args=(arguments, os.getcwd(), os.environ | OFFLINE, out, err))
        with mock.patch.dict(os.environ, OFFLINE):  # the server starts with the first command, and reads it on import
            process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["drake", *arguments], timeout, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(["drake", *arguments], process.exitcode, out.read_text(), err.read_text())


def _command(arguments: Sequence[str], folder: str, environment: Mapping[str, str], out: Path, err: Path) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["drake", *arguments]
    from drake.cli import main

    sys.exit(main())

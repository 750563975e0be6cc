"""Where a run happened: versions, commit and machine. Every results file holds it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from drake.results import Environment, Machine

PACKAGES = (
    "drake-bench", "torch", "transformers", "tokenizers", "peft", "datasets", "numpy", "pyarrow", "pillow",
    "safetensors",
)  # fmt: skip
"""Distributions whose version can change a result."""
SOURCE_ROOMS = ("drake", "methods", "baselines")


def environment(device: str, dtype: str, processes: int = 1) -> Environment:
    """Versions, commit and machine of this process. processes: how many compute side by side."""
    import torch  # here: reading results must not cost seconds of start-up

    commit, dirty = _git()
    return Environment(
        python=platform.python_version(),
        packages=versions(),
        git_commit=commit,
        git_dirty=dirty,
        machine=Machine(
            cpu=_cpu_model(), cores=os.cpu_count() or 1, threads=torch.get_num_threads(), processes=processes
        ),
        device=device,
        dtype=dtype,
    )


def versions() -> dict[str, str]:
    """The version of every one of PACKAGES that is installed."""
    return {name: found for name in PACKAGES if (found := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the tree this package lies in; (None, None) when it is no git checkout of drake."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
        # Only the code: a stray note or a run folder in the checkout changes no result.
        changes = _output("git", "-C", str(root), "status", "--porcelain", "--", *SOURCE_ROOMS)
    except (OSError, subprocess.CalledProcessError):  # no git, or a repository without a commit
        return None, None
    return commit, bool(changes)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()

"""Benchmarks run: what only a GPU measures is driven here on a nano shape."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_the_gpu_benchmark_prints_a_row_per_method():
    command = [
        sys.executable,
        "gpu.py",
        "--shapes",
        "nano",
        "--rank",
        "8",
        "--device",
        "cpu",
        "--steps",
        "1",
        "--checkpointing",
    ]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=True, timeout=200)
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| nano")]
    assert [row[1].strip() for row in rows] == ["sft", "fedmosaic"]
    assert all(float(row[3]) > 0 and float(row[4].replace(",", "")) > 0 for row in rows)

"""Benchmarks run: what only a GPU measures is driven here on a nano shape, the others on little of everything."""

import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "benchmarks"


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


def test_the_overhead_benchmark_accounts_for_all_time_and_memory(micro_data, micro_backbones):
    command = [
        sys.executable, "overhead.py", "--methods", "sft", "--models", micro_backbones["llama-4"],
        "--data", micro_data, "--rounds", "1", "--steps", "1", "--eval-records", "1",
        "--answer-tokens", "1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=True, timeout=200)
    time, memory = ([cell.strip() for cell in line.split("|")[2:-1]] for line in done.stdout.splitlines()
                    if line.startswith("| sft"))  # fmt: skip
    shares = [float(cell[:-1]) for cell in time[1:]]
    computing, other, outside = shares[:5], shares[5:-1], shares[-1]
    assert min(computing) > 0
    assert sum(computing) + outside == pytest.approx(100, abs=0.5)
    assert sum(other) == pytest.approx(outside, abs=0.5)
    assert min(other) >= 0
    start, ten, one, adapters = map(float, memory[:4])
    assert start > 100
    assert float(memory[4]) == pytest.approx(ten / (one + adapters), abs=0.2)


def test_the_floor_repeats_every_product_and_attention_kernel(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    floor = importlib.import_module("floor")
    x, weight = torch.randn(2, 3, 8), torch.randn(5, 8, requires_grad=True)
    query = torch.randn(1, 2, 4, 8, requires_grad=True)
    with floor.Recorder() as seen:
        for _ in range(2):
            (torch.nn.functional.linear(x, weight).relu().sum() * 2).backward()
        torch.nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()
    assert kernels(seen)["mm"] == 4  # twice forward, and twice the gradient of the weight
    assert sum(count for name, count in kernels(seen).items() if name.startswith("_scaled_dot_product")) == 2
    with floor.Recorder() as again:
        floor.replayed(seen.calls)()
    assert kernels(again) == kernels(seen)


def kernels(recorder):
    """Name of a kernel -> how often it ran."""
    found = Counter()
    for (function, *_), count in recorder.calls.items():
        found[function._schema.name.removeprefix("aten::")] += count
    return found

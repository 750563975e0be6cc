"""Benchmarks run: what only a GPU measures is driven here on a nano shape, the others on little of everything."""

import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def printed(monkeypatch, capsys):
    """(name, arguments) -> what a benchmark prints, in this process."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.syspath_prepend(str(BENCH))
        benchmark = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        benchmark.main()
        return capsys.readouterr().out

    return run


def test_the_gpu_benchmark_prints_a_row_per_method_and_number_of_pictures(printed):
    text = printed(
        "gpu", "--shapes", "nano", "--rank", "8", "--device", "cpu", "--steps", "1", "--checkpointing",
        "--pictures", "1,2", "--eval-tokens", "512", "--eval-batches", "1", "--answer-tokens", "2", "--peak", "1",
    )  # fmt: skip
    rows = [line.replace("%", "").replace(",", "").split("|")[2:-1] for line in table(text, "nano")]
    assert [(row[0].strip(), int(row[1])) for row in rows] == [
        (method, pictures) for method in ("sft", "fedmosaic") for pictures in (1, 2)
    ]
    assert all(float(cell) > 0 for row in rows for cell in row[1:-1])
    assert all(0 <= float(row[-1]) < 100 for row in rows)
    for row in rows:
        one, eight = map(float, row[-3:-1])
        assert one / 8 <= eight + 0.1 <= one / 5 + 0.2  # ten clients on eight cards are two turns


def test_the_estimate_counts_a_models_products_and_scales_with_the_hardware(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    estimate = importlib.import_module("gpu_estimate")
    held = {name: estimate.SHAPES[name].held / 1e9 for name in ("1b", "3b", "8b")}
    assert held == pytest.approx({"1b": 1.236 + 0.304, "3b": 3.213 + 0.304, "8b": 8.03 + 0.304}, rel=0.01)
    shape, card = estimate.SHAPES["1b"], estimate.Card(989e12, 3.35e12, 0.45)
    assert shape.forward(0) == 2 * shape.weights
    assert shape.training(1000) - shape.training(0) == 3 * (shape.forward(1000) - shape.forward(0))
    with_it, without = (card.step_seconds(shape, 1252, checkpointing) for checkpointing in (True, False))
    assert with_it / without == pytest.approx(1.5, abs=0.02)  # forward once more beside two of its kind
    fast = estimate.Card(2 * 989e12, 2 * 3.35e12, 0.45)
    assert fast.answers_per_second(shape, 1252, 4) == pytest.approx(2 * card.answers_per_second(shape, 1252, 4))
    one, eight = (estimate.hours(1.0, 1e9, cards, 2000) for cards in (1, 8))
    assert one == pytest.approx(20 * 10 * 100 / 3600, rel=1e-3)
    assert eight == pytest.approx(one / 5, rel=1e-3)
    assert estimate.hours(1e-9, 100.0, 8, 2000) == pytest.approx(10 * 100 * 2000 / 100 / 8 / 3600, rel=1e-3)


def test_the_estimate_says_that_it_is_one():
    command = [sys.executable, "gpu_estimate.py", "--shapes", "1b,8b", "--pictures", "2,8"]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("ESTIMATED, not measured: 989 TFLOP/s")
    assert [len(table(done.stdout, name)) for name in ("1b", "8b")] == [2, 2]


def table(text, first):
    """The rows of a printed table whose first cell is this."""
    return [line for line in text.splitlines() if line.startswith(f"| {first} ")]


def test_the_overhead_benchmark_accounts_for_all_time_and_memory(printed, micro_data, micro_backbones):
    """Its table is made in this process; each run has one of its own."""
    text = printed(
        "overhead", "--methods", "sft", "--models", micro_backbones["llama-4"], "--data", micro_data, "--rounds", "1",
        "--steps", "1", "--eval-records", "1", "--answer-tokens", "1",
    )  # fmt: skip
    time, memory = ([cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines()
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


def test_the_floor_repeats_every_kernel_or_the_products_and_attention_alone(monkeypatch):
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
    everything, products = floor.replayed(seen.calls), floor.replayed(seen.products())
    with floor.Recorder() as again:
        everything()
    assert kernels(again) == kernels(seen)
    assert kernels(again)["relu"] == 2
    with floor.Recorder() as again:
        products()
    assert sum(kernels(again).values()) == 6
    assert kernels(again)["mm"] == 4


def kernels(recorder):
    """Name of a kernel -> how often it ran."""
    found = Counter()
    for (function, *_), count in recorder.calls.items():
        found[function._schema.name.removeprefix("aten::")] += count
    return found

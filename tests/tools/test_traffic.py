"""`drake comm` counts from shapes what the ledger of a real run counts from tensors."""

import re
from collections import defaultdict

import pytest
from drake_baselines.sft import SFT

from drake import cli
from drake.config import configure
from drake.engines.serial import Serial
from drake.federation import registry
from drake.federation.callbacks import RunContext
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.runs import Setup
from drake.tools.traffic import Cost, cost, costs, relative

CLIENTS = 4
"""Two of the first backbone, one of each other."""
CHEAP = {"perada": {"perada.records": 2}, "takfl": {"takfl.records": 2}}
"""Options with which a server's distillation takes less than a second; they change nothing that is sent."""


class Secretive(SFT):
    """Sends something, and does not say what."""

    sends = "A, B"


@pytest.mark.parametrize("method", registry.names())
def test_every_method_sends_in_a_run_what_it_says(micro_backbones, micro_data, method):
    dtype = "bfloat16"  # in which adapters are sent in float32 all the same
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"], micro_backbones["qwen-4"])
    numbers = {"steps": 1, "micro_batch": 1, "rank": 4, "rounds": 1, "dtype": dtype, "device": "cpu"}
    numbers |= {"clients": CLIENTS} | CHEAP.get(method, {})
    config = configure(method, "quick", models=models, data=micro_data, **numbers)
    setup = Setup(config)
    worker = setup.worker(0)
    progress = run_rounds(Serial(worker), RunContext(worker.federation, worker.method), measurements())
    looks = lambda tensors: {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}  # noqa: E731
    for client in setup.clients:
        for said, crossed in ((worker.method.sent, progress.uploads), (worker.method.received, progress.downloads)):
            tensors = crossed[client.id].tensors if client.id in crossed else {}
            assert looks(said(worker.client_round(client))) == looks(tensors)

    counted = {"up": defaultdict(dict), "down": defaultdict(dict)}
    for row in progress.traffic:
        if row.kind != "numbers":
            counted[row.direction][row.client][row.kind] = row.bytes

    found = cost(config, setup.assignment.models)
    assert list(found.up) == [counted["up"][client] for client in range(CLIENTS)]
    assert list(found.down) == [counted["down"][client] for client in range(CLIENTS)]


def test_the_costs_are_of_a_federation_with_the_clients_of_a_run(micro_backbones, micro_data):
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"], micro_backbones["qwen-4"])
    config = configure("fedit", "quick", models=models, data=micro_data, device="cpu")
    assert list(costs([config])["fedit"].backbones) == [client.backbone for client in Setup(config).clients]


def test_fedmosaic_at_the_papers_scale_by_hand():
    found = costs([configure("fedmosaic", "paper", models=["llama1b", "llama3b"])])["fedmosaic"]
    for name, layers, hidden, keys in (("llama1b", 12, 2048, 512), ("llama3b", 24, 3072, 1024)):
        up = found.mean("up", name)
        assert up["A"] == 4 * layers * 128 * (6 * hidden + 8192)
        assert up["B"] == 4 * layers * 128 * (3 * hidden + 2 * keys + 2 * 8192)
        assert (up["P"], up["Q"]) == (4 * 28 * 128 * 128, 4 * 28 * 128)
        assert up["gradient"] == 4 * round(0.4 * 2048) * 8192  # of the anchor, the 1B model, whoever sends it
        assert found.mean("down", name) == {kind: size for kind, size in up.items() if kind != "gradient"}
    held = [found.backbones.count(name) / 10 for name in ("llama1b", "llama3b")]
    both = [found.mean("up", name)["A"] for name in ("llama1b", "llama3b")]
    assert found.mean("up")["A"] == pytest.approx(held[0] * both[0] + held[1] * both[1])


def test_a_method_is_compared_with_the_most_economical_other_that_sends():
    of = lambda up, down: Cost(("x", "y"), ({"A": up}, {"A": up}), ({"A": down}, {}))  # noqa: E731
    found = {"silent": of(0, 0), "small": of(70, 40), "large": of(100, 0), "unknown": None}
    assert found["small"].total == 90
    assert relative(found) == {
        "silent": None,
        "small": pytest.approx(-0.1),
        "large": pytest.approx(1 / 9),
        "unknown": None,
    }
    assert relative({"alone": of(1, 1)}) == {"alone": None}
    logits = Cost(("x", "y"), ({"logits": 7}, {"logits": 7}), ({}, {}))
    assert relative(found | {"logits": logits}) == relative(found) | {"logits": pytest.approx(7 / 90 - 1)}


def test_a_method_that_does_not_say_what_it_sends_is_not_counted_as_silent():
    name = f"{__name__}:Secretive"
    assert costs([configure(method, "quick", models=["tiny-llama-s"]) for method in (name, "sft")])[name] is None


def test_the_table_names_every_method_and_the_papers_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    methods = f"fedmosaic,sft,{__name__}:Secretive"
    cli.drake(["comm", "--models", "llama1b,llama3b", "--methods", methods, "--by-kind"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().startswith("fedmosaic"))
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[first:-2] if line.strip()]
    assert {name: cells for name, *cells in rows} == {
        "fedmosaic": ["299.2 / 272.4", "695.6 / 668.7", "537.0 / 510.2", "1,047.2", "-"],
        "A": ["125.8 / 125.8", "327.2 / 327.2", "246.6 / 246.6", "493.3"],
        "B": ["144.7 / 144.7", "339.7 / 339.7", "261.7 / 261.7", "523.4"],
        "P": ["1.8 / 1.8", "1.8 / 1.8", "1.8 / 1.8", "3.7"],
        "Q": ["0.014 / 0.014", "0.014 / 0.014", "0.014 / 0.014", "0.029"],
        "gradient": ["26.8 / -", "26.8 / -", "26.8 / -", "26.8"],
        "sft": ["-"] * 5,
        f"{__name__}:Secretive": ["?"] * 5,
    }
    assert "10.9% less" in lines[-2]
    assert lines[-1].startswith("?: ")

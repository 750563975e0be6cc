"""Co-LoRA blocks, task relevance and aggregation against vectors computed with the official code."""

import json

import torch
from drake_methods.aggregation import customise
from drake_methods.colora import co_lora_layers
from drake_methods.rela import task_relevance
from safetensors.torch import load_file


def test_co_lora_layers_are_the_official_ones(golden):
    cases = json.loads((golden / "block_layers.json").read_text())
    assert len(cases) == 15
    for case in cases:
        assert co_lora_layers(case["num_layers"], case["num_blocks"]) == case["co_lora_layers"]


def test_task_relevance_equals_the_official_one(golden):
    case = load_file(golden / "task_relevance.safetensors")
    found = task_relevance(case["gradients"].double())
    torch.testing.assert_close(found, case["relevance"].double(), rtol=0, atol=1e-6)


def test_customised_global_modules_equal_the_official_ones(golden):
    about = json.loads((golden / "aggregation.json").read_text())
    case = {name: tensor.double() for name, tensor in load_file(golden / "aggregation.safetensors").items()}
    uploads = {
        i: {
            name.removeprefix(f"client{i}.local."): tensor
            for name, tensor in case.items()
            if name.startswith(f"client{i}.local.")
        }
        for i in range(len(about["clients"]))
    }
    architectures = {i: (name, about["models"][name]["num_layers"]) for i, name in enumerate(about["clients"])}
    checked = 0
    for i in uploads:
        found = customise(
            i, uploads, architectures, case["relevance"], about["softmax_temperature"], about["num_blocks"]
        )
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, case[f"client{i}.global.{name}"], rtol=0, atol=1e-6)
            checked += 1
    assert checked == sum(".global." in name for name in case)

"""Compiled layers train as the plain ones do, and stay out of the way when the model answers."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from drake.config import preset
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.local_training import task_loss
from drake.models.backbones import load
from drake.models.compiling import check_compiler, compile_training
from drake.models.tiny import Shape, new_model, new_processor, new_tokenizer

RECORDS = [
    {"id": f"{n}", "images": [], "prompt": "same colour?" + " red" * n, "answer": ("yes", "no")[n % 2]}
    for n in range(4)
]


def adapted(folder, backend=None):
    """A backbone with one adapter that is not zero, and the adapter's parameters."""
    torch._dynamo.reset()
    counters.clear()
    backbone = load(folder)
    model = adapters.add(backbone.model, ["x"], replace(preset("quick").training, dropout=0.1))
    if backend is not None:
        compile_training(model.model.language_model.layers, backend)
    adapters.write(model, "x", adapters.fresh(model, "x", torch.Generator().manual_seed(0)))
    parameters = adapters.tensors(model, "x")
    with torch.no_grad():
        for name in parameters:
            parameters[name].add_(0.01)
    adapters.activate(model, "x")
    adapters.train_only(model, parameters.values())
    return backbone, parameters


def trained(backbone, parameters, *batches):
    """Losses and gradients of some batches, with dropout."""
    backbone.model.train()
    losses = []
    for records in batches:
        torch.manual_seed(7)
        loss = task_loss(backbone.model, backbone.batch(records, answers=True))
        loss.backward()
        losses.append(loss.item())
    return losses, {name: parameter.grad for name, parameter in parameters.items()}


def check_same(found, expected):
    (losses, gradients), (plain_losses, plain_gradients) = found, expected
    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for name, gradient in plain_gradients.items():
        assert gradient.norm() > 0
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-6)


def test_one_program_serves_all_layers_and_batches_of_every_size(micro_backbones):
    batches = (RECORDS, RECORDS[:3], RECORDS[:2])
    plain = trained(*adapted(micro_backbones["llama-4"]), *batches)
    assert counters["stats"]["unique_graphs"] == 0
    check_same(trained(*adapted(micro_backbones["llama-4"], "eager"), *batches), plain)
    assert counters["stats"]["unique_graphs"] == 2  # the input of the first layer has no gradient


def test_a_compiled_step_is_the_plain_one_with_the_same_dropout(tmp_path):
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("there is no C++ compiler: compiled training was NOT checked")
    tokenizer = new_tokenizer("llama", [f"{record['prompt']} {record['answer']}" for record in RECORDS])
    new_model(Shape("llama", 1, 16, 32), tokenizer, seed=0).save_pretrained(tmp_path)
    new_processor("llama", tokenizer).save_pretrained(tmp_path)
    plain = trained(*adapted(tmp_path), RECORDS)
    with config.patch({"cpp.vec_isa_ok": True}):  # else it tries the CPU's instructions first, for half a minute
        check_same(trained(*adapted(tmp_path, "inductor"), RECORDS), plain)
    assert counters["stats"]["unique_graphs"] == 1


def test_answers_and_passes_without_gradients_are_not_compiled(micro_backbones):
    plain, _ = adapted(micro_backbones["llama-4"])
    backbone, _ = adapted(micro_backbones["llama-4"], "eager")
    plain.model.eval()
    batch = backbone.batch(RECORDS, answers=False)
    with torch.inference_mode():
        assert torch.equal(backbone.model.eval()(**batch.inputs).logits, plain.model(**batch.inputs).logits)
    seen = []
    backbone.model.model.language_model.layers[-1].mlp.register_forward_pre_hook(lambda *_: seen.append("called"))
    with torch.no_grad():
        backbone.model.train()(**batch.inputs)
    assert seen == ["called"]
    assert counters["stats"]["unique_graphs"] == 0


def test_without_a_compiler_the_option_is_refused_in_one_sentence(monkeypatch):
    def broken(function, **options):
        raise RuntimeError("No working C++ compiler found\nand a page of advice")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(DrakeError, match=r"--compile does not work here \(No working C\+\+ compiler found\);"):
        check_compiler.__wrapped__("cpu")

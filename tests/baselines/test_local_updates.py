"""One round of every averaging baseline against its formulas in plain PyTorch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_lora import cross_entropy, descended, divergence, trainable

from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.adapters import prefixed
from drake.federation.method import Download

STEP = {"rate": 0.5, "clip": 0.2}  # as in conftest.py


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def assert_moved(found, start):
    assert all((found[name] - tensor).abs().max() > 1e-5 for name, tensor in start.items())


def state(**by_name):
    return {key: tensor for name, adapter in by_name.items() for key, tensor in prefixed(name, adapter).items()}


def value(losses):
    return torch.as_tensor(sum(losses) / len(losses)).item()


@pytest.mark.parametrize("name", ["sft", "fedit", "ditto", "feddat", "fedsim", "feddpa", "perada"])
def test_the_backbone_is_frozen(bench, name):
    method, model = bench.method(name)
    before = {key: tensor.clone() for key, tensor in model.named_parameters() if "lora_" not in key}
    start = method.initial_state(bench.now(model))
    method.local_update(bench.now(model, start), bench.steps)
    after = {key: parameter for key, parameter in model.named_parameters() if "lora_" not in key}
    assert len(after) > 50
    for key, parameter in after.items():
        assert torch.equal(parameter, before[key])
        assert not parameter.requires_grad
        assert parameter.grad is None


def test_sft_trains_its_own_adapter(bench):
    start, _, strange = bench.adapters
    mine, seen = trainable(start), []
    for step in bench.steps:
        losses = [cross_entropy(bench.plain.answers(batch, mine), batch) for batch in step]
        (mine,) = descended(losses, mine, **STEP)
        seen.append(value(losses))
    result = bench.round("sft", start, state(shared=strange))
    assert_close(result.state, mine)
    assert_moved(result.state, start)
    assert result.upload is None
    assert result.stats["loss"] == pytest.approx(value(seen), abs=1e-6)


def test_fedit_trains_the_received_mean(bench):
    own, received = bench.adapters[:2]
    g, seen = trainable(received), []
    for step in bench.steps:
        losses = [cross_entropy(bench.plain.answers(batch, g), batch) for batch in step]
        (g,) = descended(losses, g, **STEP)
        seen.append(value(losses))
    result = bench.round("fedit", state(shared=own), state(shared=received))
    assert_close(result.state, state(shared=g))
    assert_moved(result.state, state(shared=received))
    assert result.stats["loss"] == pytest.approx(value(seen), abs=1e-6)


@pytest.mark.parametrize("received", [True, False], ids=["received", "first round"])
def test_ditto_holds_the_personal_adapter_near_the_g_it_received(bench, received):
    own, mean, start = bench.adapters
    g0 = mean if received else own
    g, l, seen = trainable(g0), trainable(start), []  # noqa: E741  (as in the formula)
    for step in bench.steps:
        (g,) = descended([cross_entropy(bench.plain.answers(batch, g), batch) for batch in step], g, **STEP)
        distance = sum(((l[name] - g0[name]) ** 2).sum() for name in g0)
        losses = [cross_entropy(bench.plain.answers(batch, l), batch) + 0.3 * distance for batch in step]
        (l,) = descended(losses, l, **STEP)  # noqa: E741
        seen.append(value(losses))
    download = state(shared=mean) if received else None
    result = bench.round("ditto", state(shared=own, personal=start), download, penalty=0.3)
    assert_close(result.state, state(shared=g, personal=l))
    assert_moved(result.state, state(shared=g0, personal=start))
    assert result.stats["loss"] == pytest.approx(value(seen), rel=1e-6)


def test_ditto_without_penalty_is_fedit_and_sft_side_by_side(bench):
    shared, personal, _ = bench.adapters
    both = bench.round("ditto", state(shared=shared, personal=personal), penalty=0).state
    assert_close(
        adapters.part("shared", both), adapters.part("shared", bench.round("fedit", state(shared=shared)).state)
    )
    assert_close(adapters.part("personal", both), bench.round("sft", personal).state)


def test_ditto_starts_both_adapters_alike(bench):
    method, model = bench.method("ditto")
    found = method.initial_state(bench.now(model, seed=3))
    expected = adapters.fresh(model, "shared", torch.Generator().manual_seed(3))
    for name in ("shared", "personal"):
        assert_close(adapters.part(name, found), expected)


@pytest.mark.parametrize("tau", [2.0, 3.0])
def test_feddat_teaches_both_ways_through_the_dual_teacher(bench, tau):
    own, received, start = bench.adapters
    a1, a0, a2, seen = trainable(received), trainable(start), received, []
    for step in bench.steps:
        first, z1s = [], []
        for batch in step:
            with torch.no_grad():
                teacher = bench.plain.answers(batch, a0, a2, share=0.5)
            z1 = bench.plain.answers(batch, a1)
            z1s.append(z1.detach())
            first.append((cross_entropy(z1, batch) + divergence(z1, teacher, tau)) / 2)
        (a1,) = descended(first, a1, **STEP)
        dual = [bench.plain.answers(batch, a0, a2, share=0.5) for batch in step]
        second = [
            (cross_entropy(z, batch) + divergence(z, z1, tau)) / 2 for z, z1, batch in zip(dual, z1s, step, strict=True)
        ]
        (a0,) = descended(second, a0, **STEP)
        seen.append(value(second))
    options = {} if tau == 2.0 else {"temperature": tau}
    result = bench.round("feddat", state(shared=own, personal=start), state(shared=received), **options)
    assert_close(result.state, state(shared=a1, personal=a0))
    assert_moved(result.state, state(shared=received, personal=start))
    assert result.stats["loss"] == pytest.approx(value(seen), abs=1e-6)


def test_feddats_third_adapter_is_the_received_mean_and_stays_so(bench):
    own, received, start = bench.adapters
    method, model = bench.method("feddat")
    for download, expected in ((None, own), (Download(state(shared=received)), received)):
        method.local_update(bench.now(model, state(shared=own, personal=start), download), bench.steps)
        assert_close(adapters.read(model, "received"), expected)
        live = adapters.tensors(model, "received").values()
        assert all(tensor.grad is None and not tensor.requires_grad for tensor in live)


def test_fedsim_trains_both_adapters_on_the_sum_of_their_logits(bench):
    own, received, start = bench.adapters
    g, l, seen = trainable(received), trainable(start), []  # noqa: E741
    for step in bench.steps:
        logits = [bench.plain.answers(batch, g) + bench.plain.answers(batch, l) for batch in step]
        losses = [cross_entropy(z, batch) for z, batch in zip(logits, step, strict=True)]
        g, l = descended(losses, g, l, **STEP)  # noqa: E741
        seen.append(value(losses))
    result = bench.round("fedsim", state(shared=own, personal=start), state(shared=received))
    assert_close(result.state, state(shared=g, personal=l))
    assert_moved(result.state, state(shared=received, personal=start))
    assert result.stats["loss"] == pytest.approx(value(seen), abs=1e-6)


@pytest.mark.parametrize(("count", "first"), [(1, 1), (2, 1), (3, 2)])
def test_feddpa_trains_g_first_and_then_l_beside_it(bench, count, first):
    own, received, start = bench.adapters
    steps = [*bench.steps, bench.steps[0]][:count]
    g, l, seen = trainable(received), trainable(start), []  # noqa: E741
    for step in steps[:first]:
        losses = [cross_entropy(bench.plain.answers(batch, g), batch) for batch in step]
        (g,) = descended(losses, g, **STEP)
        seen.append(value(losses))
    for step in steps[first:]:
        losses = [cross_entropy(bench.plain.answers(batch, g, l, share=0.5), batch) for batch in step]
        (l,) = descended(losses, l, **STEP)  # noqa: E741
        seen.append(value(losses))
    result = bench.round("feddpa", state(shared=own, personal=start), state(shared=received), steps)
    assert_close(result.state, state(shared=g, personal=l))
    assert result.stats["loss"] == pytest.approx(value(seen), abs=1e-6)


@pytest.mark.parametrize("name", ["feddat", "fedsim"])  # the two that switch adapters within a loss
def test_gradient_checkpointing_changes_nothing(bench, name):
    method, model = bench.method(name)
    start = state(shared=bench.adapters[0], personal=bench.adapters[1])
    expected = method.local_update(bench.now(model, start), bench.steps).state
    forwards = []
    backbone = bench.copy()
    backbone.model.activation_checkpointing_enable({"use_reentrant": False})  # as `backbones.load` does
    backbone.model.model.language_model.layers[0].mlp.register_forward_pre_hook(lambda *_: forwards.append(1))
    found = method.local_update(bench.now(method.attach(backbone, None), start), bench.steps).state
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert len(forwards) == len(bench.steps) * 2 * {"feddat": 3 + 2, "fedsim": 2 + 2}[name]  # some were computed again


@pytest.mark.parametrize(
    ("name", "option", "sentence"),
    [("ditto", {"penalty": -1}, "ditto.penalty is -1.0"), ("feddat", {"temperature": 0}, "feddat.temperature is 0.0")],
)
def test_impossible_options_are_refused(bench, name, option, sentence):
    with pytest.raises(DrakeError, match=sentence):
        bench.method(name, **option)


@pytest.mark.parametrize(
    ("name", "shared"), [("fedit", "shared"), ("fedsim", "shared"), ("feddpa", "shared"), ("ditto", "shared")]
)
def test_before_the_aggregation_a_client_answers_with_what_it_has_trained(bench, name, shared):
    mine, received, personal = bench.adapters
    method, model = bench.method(name)
    own = state(shared=mine) if name == "fedit" else state(shared=mine, personal=personal)
    now = bench.now(model, own, Download(state(shared=received)))
    held = getattr(model, "language_model", model)
    for trained, expected in ((True, mine), (False, received)):
        method.for_inference(replace(now, trained=trained))
        assert_close(adapters.read(held, shared), expected)


def test_before_the_aggregation_feddats_teacher_holds_the_mean_it_trained_beside(bench):
    mine, received, personal = bench.adapters
    method, model = bench.method("feddat")
    own = state(shared=mine, personal=personal)
    for download, expected in ((Download(state(shared=received)), received), (None, None)):
        method.for_inference(replace(bench.now(model, own, download), trained=True))
        assert_close(adapters.read(model, "personal"), personal)
        beside = adapters.read(model, "received")
        if expected is None:  # in the first round: an adapter that adds nothing
            assert not any(tensor.any() for name, tensor in beside.items() if name.endswith(".B"))
        else:
            assert_close(beside, expected)

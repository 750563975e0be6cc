"""FedMKT: what is sent, what a client and the server learn from it, and what goes back, in plain PyTorch.

Four public records: a third of what the 4 / 1.5 local steps of 4 records read.
"""

from __future__ import annotations

import pytest
import torch
from distillation_world import NAMES, SIZES, assert_close, descended, kl, same
from drake_baselines.averaging import largest_backbone
from drake_baselines.distillation import public_batches
from drake_baselines.knowledge import unpacked
from drake_baselines.translation import Target, Translation
from plain_lora import cross_entropy

from drake.federation.method import Download, Upload


def message(world, name, adapter, size):
    """What is sent with all logits of all tokens, in plain PyTorch."""
    losses, said = [], []
    for batch, logits in zip(
        world.batches(name, world.public[:size]),
        world.said(name, adapter, records=world.public[:size]),
        strict=True,
    ):
        start = 0
        for record in batch.records:
            ids = torch.tensor(world.bare[name].chat.answer_ids(record))
            row = logits[start : start + len(ids)]
            start += len(ids)
            losses.append(-row.log_softmax(-1)[torch.arange(len(ids)), ids].mean())
            said.append(row)
    return torch.stack(losses), said


def uploads_of(world, method, federation, held=None):
    """Of all clients, as if after their training: what each says with its adapter; held: these."""
    found, held = {}, held or world.adapters
    for client in federation.clients:
        model = method.server.model(client.backbone)
        batches = public_batches(
            federation.backbone(client.backbone), world.public[: method.public_size], world.training
        )
        found[client.id] = Upload(method._predictions(model, held[client.id], batches))
    return found


def test_the_public_set_follows_the_steps_of_a_round_and_is_repeated_where_too_small(world):
    method, _ = world.method("fedmkt", count=2)
    assert method.public_size == round(4 / 1.5 * 4 / 3) == 4
    assert method._public() == [*world.public[:2], *world.public[:2]]


def test_a_client_sends_losses_and_its_largest_logits(world):
    method, federation = world.method("fedmkt", logits=3, tokens=2)
    uploads = uploads_of(world, method, federation)
    for client, name in enumerate(NAMES):
        losses, said = message(world, name, world.adapters[client], 4)
        sent = uploads[client].tensors
        torch.testing.assert_close(sent["losses"], losses)
        assert sent["logits"].shape == sent["ids"].shape == (4, 2, 3)
        for number, row in enumerate(said):
            best = row[:2].topk(3)
            torch.testing.assert_close(sent["logits"][number], best.values, atol=1e-5, rtol=0)
            assert torch.equal(sent["ids"][number].long(), best.indices)
            target = unpacked(sent, number, row.shape[1])
            assert target.rows.tolist() == [0, 1]
            expected = torch.zeros_like(row[:2]).scatter(1, best.indices, best.values.softmax(-1))
            torch.testing.assert_close(target.probabilities, expected)


def test_a_short_answer_leaves_places_empty(world):
    method, federation = world.method("fedmkt", logits=2, tokens=9)
    sent = uploads_of(world, method, federation)[0].tensors
    lengths = [len(world.bare["llama-4"].chat.answer_ids(record)) for record in world.public[:4]]
    assert max(lengths) < 9
    assert [(row >= 0).any(-1).sum().item() for row in sent["ids"]] == lengths
    assert [len(unpacked(sent, number, 5000).rows) for number in range(4)] == lengths


def test_a_client_learns_from_the_server_where_that_is_better_and_then_from_its_own(world):
    name, start, teacher = "llama-4", world.adapters[0], world.adapters[2]
    method, federation = world.method("fedmkt", logits=100_000, weight=0.3)
    own, _ = message(world, name, start, 4)
    _, said = message(world, name, teacher, 4)
    losses = own + torch.tensor([0.1, -0.1, 0.2, -0.1])  # the server is better at the second and the last
    download = Download(uploads_of(world, method, federation)[2].tensors | {"losses": losses})
    step = [world.bare[name].batch([world.own[0], world.own[1]], answers=True)]
    now = world.now(method, federation, name, start | {"losses": own}, download)
    result = method.local_update(now, [step])

    public = world.batches(name, world.public[:4])

    def loss(k, z):
        first = len(world.bare[name].chat.answer_ids(public[k].records[0]))
        taught = kl(z[first:], said[2 * k + 1].softmax(-1), 1.0)
        return 0.7 * cross_entropy(z, public[k]) + 0.3 * taught

    adapter = world.descended(name, start, loss, public)
    task = cross_entropy(world.plain[name].answers(step[0], adapter), step[0])
    adapter = descended([task], adapter)
    trained = {key: tensor for key, tensor in result.state.items() if key != "losses"}
    assert_close(trained, adapter, start)
    assert result.stats["loss"] == pytest.approx(task.item(), abs=1e-6)
    losses, _ = message(world, name, adapter, 4)
    torch.testing.assert_close(result.state["losses"], losses.detach())
    assert torch.equal(result.upload.tensors["losses"], result.state["losses"])
    assert result.upload.tensors.keys() == {"losses", "logits", "ids"}


def test_the_server_learns_from_the_best_client_of_every_record(world):
    method, federation = world.method("fedmkt", logits=100_000, tokens=50)
    assert largest_backbone(federation) == "qwen-4"  # equals; the last by name
    start = world.plain["qwen-4"].random(7, 4)
    method.restore(start)
    uploads = uploads_of(world, method, federation)
    own, _ = message(world, "qwen-4", start, 4)
    # Best at the four records: a llama, the server itself, qwen, the other llama.
    for client, better in ((0, 0), (1, 2), (2, 3)):
        losses = own + 0.1 + 0.1 * client
        losses[better] = own[better] - 0.1
        uploads[client] = Upload(dict(uploads[client].tensors) | {"losses": losses})
    downloads = method.aggregate(0, uploads, federation)

    said = [message(world, name, world.adapters[i], 4)[1] for i, name in enumerate(NAMES)]
    translation = Translation(world.bare["llama-4"], world.bare["qwen-4"])
    public = world.batches("qwen-4", world.public[:4])

    def teacher(number):
        """rows, probabilities"""
        if number == 1:
            return [], []
        if number == 2:
            return list(range(len(said[1][2]))), list(said[1][2].softmax(-1))
        p = said[0 if number == 0 else 2][number].softmax(-1)
        places = translation.places(world.public[number])
        return [theirs for _, theirs in places], [translation.carried(p[[ours]])[0] for ours, _ in places]

    def loss(k, z):
        first = len(world.bare["qwen-4"].chat.answer_ids(public[k].records[0]))
        (rows, p), (more, q) = teacher(2 * k), teacher(2 * k + 1)
        taught = kl(z[rows + [first + row for row in more]], torch.stack(p + q), 1.0)
        return 0.9 * cross_entropy(z, public[k]) + 0.1 * taught

    adapter = world.descended("qwen-4", start, loss, public)
    assert_close(method.server_state(), adapter, start)

    losses, said = message(world, "qwen-4", adapter, 4)
    for client, name in enumerate(NAMES):
        torch.testing.assert_close(downloads[client].tensors["losses"], losses.detach())
        shapes = {key: tensor.shape for key, tensor in uploads[client].tensors.items()}
        assert {key: tensor.shape for key, tensor in downloads[client].tensors.items()} == shapes
        translation = Translation(world.bare["qwen-4"], world.bare[name])
        for number, row in enumerate(said):
            found = unpacked(downloads[client].tensors, number, translation.width)
            expected = translation(Target(torch.arange(len(row)), row.detach().softmax(-1)), world.public[number])
            order = expected.rows.argsort()
            assert torch.equal(found.rows, expected.rows[order])
            torch.testing.assert_close(found.probabilities, expected.probabilities[order], atol=1e-5, rtol=0)


def test_sizes_of_one_vocabulary_hear_the_server_in_its_own_words(world):
    method, federation = world.method("fedmkt", SIZES, logits=3)
    assert largest_backbone(federation) == "llama-6"
    method.restore(world.large)
    held = (world.adapters[0], world.large, world.adapters[2])
    downloads = method.aggregate(0, uploads_of(world, method, federation, held), federation)
    losses, said = message(world, "llama-6", method.server_state(), 4)
    for client in range(3):
        found = downloads[client].tensors
        torch.testing.assert_close(found["losses"], losses)
        for number, row in enumerate(said):
            best = row.topk(3)
            torch.testing.assert_close(found["logits"][number, : len(row)], best.values, atol=1e-5, rtol=0)
            assert torch.equal(found["ids"][number, : len(row)].long(), best.indices)


def test_the_server_starts_as_the_bare_backbone_and_goes_on_from_its_state(world):
    method, federation = world.method("fedmkt")
    uploads = uploads_of(world, method, federation)
    method.restore({})
    method.aggregate(0, uploads, federation)
    first = method.server_state()
    expected = method.aggregate(1, uploads, federation)
    again, federation = world.method("fedmkt")
    again.restore(first)
    found = again.aggregate(1, uploads, federation)
    assert all(same(found[i].tensors, expected[i].tensors) for i in range(3))
    again.restore({})
    again.aggregate(0, uploads, federation)
    assert same(again.server_state(), first)


def test_a_client_answers_with_its_own_adapter_whatever_it_received(world):
    method, federation = world.method("fedmkt")
    received = Download(uploads_of(world, method, federation)[2].tensors | world.adapters[2])
    now = world.now(method, federation, "llama-4", world.adapters[0], received)
    method.for_inference(now)
    batch = world.batches("llama-4")[0]
    logits = now.model.eval()(**batch.inputs, use_cache=False).logits
    torch.testing.assert_close(
        logits[:, -1:], world.plain["llama-4"](batch.inputs, world.adapters[0])[:, -1:], atol=1e-5, rtol=1e-5
    )

"""Three clients of two families whose server distils, and the same in plain PyTorch."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from drake_baselines.translation import Translation
from plain_lora import Plain, trainable
from plain_lora import divergence as plain_divergence

from drake.config import preset
from drake.data.benchmark import load
from drake.federation import registry
from drake.federation.adapters import part, prefixed
from drake.federation.method import Architecture, Client, ClientRound, Federation, Upload
from drake.models import backbones

RATE = 0.5
NAMES = ("llama-4", "qwen-4", "llama-4")
SIZES = ("llama-4", "llama-6", "llama-4")
"""Of one vocabulary."""
RECORDS = 5  # in micro-batches of two, two to a step


class World:
    """Three clients of two families, each with a random adapter, and the same backbones bare beside them.

    adapters: by client, for NAMES. large: one for the second of SIZES.
    """

    def __init__(self, micro_backbones, micro_data):
        numbers = {"learning_rate": RATE, "gradient_clip": 1e9, "rank": 4, "alpha": 8, "dropout": 0.0}
        self.training = replace(preset("quick").training, **numbers, micro_batch=2, accumulation=2, steps=4)
        self.public = list(load(micro_data).public)
        self.own = load(micro_data).records("NLVR2-0", "train")
        self.bare = {name: backbones.load(micro_backbones[name]) for name in {*NAMES, *SIZES}}
        self.plain = {name: Plain(held, 2.0) for name, held in self.bare.items()}
        self.adapters = [self.plain[name].random(seed, 4) for seed, name in enumerate(NAMES)]
        self.large = self.plain["llama-6"].random(9, 4)
        self.purposes = []

    def method(self, name, names=NAMES, count=None, **options):
        """Joined; its server has copies of the backbones. count: public records there are."""
        copies = {key: replace(held, model=deepcopy(held.model)) for key, held in self.bare.items()}

        def public(wanted, purpose):
            self.purposes.append(purpose)
            return self.public[: min(wanted, len(self.public) if count is None else count)]

        federation = Federation(
            clients=tuple(Client(number, held, ("NLVR2-0",)) for number, held in enumerate(names)),
            architectures={held: Architecture(held, held.split("-")[0], 4) for held in names},
            seed=0,
            rounds=2,
            training=self.training,
            backbone=copies.__getitem__,
            public=public,
        )
        method = registry.find(name)(self.training, {key: str(value) for key, value in options.items()})
        method.join(federation)
        return method, federation

    def now(self, method, federation, name="llama-4", state=None, download=None):
        """The context of a round of the first client with the backbone; its model has the method's adapters."""
        client = next(client for client in federation.clients if client.backbone == name)
        backbone = federation.backbone(name)
        model = method.attach(backbone, client)
        generator = torch.Generator().manual_seed(0)
        return ClientRound(client, backbone, model, self.training, 0, state or {}, download, generator)

    def aggregated(self, name, clients=(0, 1, 2), **options):
        method, federation = self.method(name, **options)
        uploads = {i: Upload(prefixed("shared", self.adapters[i])) for i in clients}
        return {i: part("shared", found.tensors) for i, found in method.aggregate(0, uploads, federation).items()}

    def aggregated_sizes(self, name, **options):
        """The same for `SIZES`, client 1 with the adapter `large`."""
        method, federation = self.method(name, SIZES, **options)
        sent = (self.adapters[0], self.large, self.adapters[2])
        uploads = {i: Upload(prefixed("shared", adapter)) for i, adapter in enumerate(sent)}
        return {i: part("shared", found.tensors) for i, found in method.aggregate(0, uploads, federation).items()}

    def mean(self):
        return {name: (tensor + self.adapters[2][name]) / 2 for name, tensor in self.adapters[0].items()}

    def batches(self, name, records=None):
        records = self.public[:RECORDS] if records is None else records
        return [self.bare[name].batch(records[i : i + 2], answers=True) for i in range(0, len(records), 2)]

    @torch.no_grad()
    def said(self, name, *adapters, records=None):
        """The mean of the logits with each adapter, batch by batch."""
        return [
            sum(self.plain[name].answers(batch, adapter) for adapter in adapters) / len(adapters)
            for batch in self.batches(name, records)
        ]

    def told(self, source, target, probabilities):
        """What `source` says about every batch, for `target`: (rows, probabilities), record by record."""
        translation, found = Translation(self.bare[source], self.bare[target]), []
        for number, ours in enumerate(self.batches(target)):
            left, rows, values = probabilities[number], [], []
            start = theirs = 0
            for record in ours.records:
                for place, goes_to in translation.places(record):
                    rows.append(start + goes_to)
                    values.append(translation.carried(left[theirs + place][None])[0])
                start += len(self.bare[target].chat.answer_ids(record))
                theirs += len(self.bare[source].chat.answer_ids(record))
            assert theirs == len(left)
            found.append((rows, torch.stack(values)))
        return found

    def descended(self, name, start, loss, batches=None, rate=RATE):
        """After one pass in steps of two batches; loss(number, logits)."""
        batches, adapter = batches or self.batches(name), trainable(start)
        for first in range(0, len(batches), 2):
            numbers = range(first, min(first + 2, len(batches)))
            losses = [loss(number, self.plain[name].answers(batches[number], adapter)) for number in numbers]
            adapter = descended(losses, adapter, rate)
        return adapter


def descended(losses, adapter, rate=RATE):
    """After one step down the gradient of the mean of the losses; ready for the next."""
    gradients = torch.autograd.grad(sum(losses) / len(losses), list(adapter.values()))
    return trainable({name: adapter[name] - rate * g for name, g in zip(adapter, gradients, strict=True)})


def kl(logits, probabilities, tau):
    return plain_divergence(logits, probabilities.clamp_min(1e-30).log() * tau, tau)


def assert_close(found, expected, start):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), atol=1e-6, rtol=0)
    assert sum((found[name] - tensor).square().sum() for name, tensor in start.items()).sqrt() > 1e-4


def softmax(batches, tau):
    return [(logits / tau).softmax(-1) for logits in batches]


def same(found, expected):
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())

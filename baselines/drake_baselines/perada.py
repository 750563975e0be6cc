"""PerAda: DITTO, with a server that distils what all clients' shared adapters know into every mean.

    clients      as DITTO (`ditto`)
    server       G_a <- mean of G_i over the clients of backbone a
                 G_a <- AdamW on KL(z(G_a) || p), on public records
                 p = the mean over all clients i of what z(G_i) predict
    inference    L, which never leaves the client; the same evaluated `trained` and `aggregated`

KL as in `distillation`, at temperature 2. Clients whose backbones write answers with the same ids as the student (its
own, and others of one vocabulary) give the mean of their logits; every other backbone gives the softmax of its clients'
mean, translated (`translation`). The probabilities are averaged, each with the weight of its clients; a token that
another backbone predicts nothing about is left to the rest.

Every aggregation draws 80 public records of its own, or takes all where there are fewer, and goes through them once;
with no passes, or one client alone, this is DITTO.

Reference: PerAda, Xie et al., CVPR 2024, arXiv 2302.06637. What differs from the official code
(`perada.preset=official`): the temperature is 1 there, the penalty (lambda/2) ||L - G0||^2 with lambda 0.1 (or 1, which
is `perada.penalty=0.5`), and the plain mean stays where it answers a held-out part of the public records no worse; its
teachers run with dropout on, and those of another backbone answer with whichever adapter was left active; it averages L
as well (`perada.average_personal=true`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from drake.config import Training
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Download, Federation, State, Upload

from .averaging import SHARED, averages, by_backbone
from .distillation import Batch, Distilling, Record, divergence, public_records, softened
from .ditto import Ditto


class PerAda(Distilling, Ditto):
    """See the module's docstring."""

    reference = "PerAda, Xie et al., CVPR 2024, arXiv 2302.06637"
    presets: ClassVar = {"official": {"temperature": "1", "penalty": "0.05", "held_out": "20"}}

    @dataclass(frozen=True)
    class Options(Ditto.Options):
        """penalty, average_personal: as DITTO's. temperature: of the KL. records: public records of an aggregation;
        passes through them; rate: times the learning rate of local training. held_out: further ones, on which a
        distilled adapter must be better than the plain mean, or that stays; 0: not asked."""

        temperature: float = 2.0
        records: int = 80
        passes: int = 1
        rate: float = 1.0
        held_out: int = 0

        def __post_init__(self) -> None:
            if not self.penalty >= 0:
                raise DrakeError(f"perada.penalty is {self.penalty}; it must be zero or more.")
            if not (self.temperature > 0 and self.records >= 1 and self.passes >= 0):
                raise DrakeError(
                    "perada needs temperature > 0, records >= 1 and passes >= 0, not "
                    f"{self.temperature}, {self.records} and {self.passes}."
                )
            if not (self.rate > 0 and self.held_out >= 0):
                raise DrakeError(f"perada needs rate > 0 and held_out >= 0, not {self.rate} and {self.held_out}.")

    def __init__(self, training: Training, options: Mapping[str, str] | None = None) -> None:
        super().__init__(training, options)
        self.needs_public = self.options.passes > 0

    def prepare(self, federation: Federation) -> None:
        if self.options.held_out:
            self._public(0, federation)  # fail before round 1 if none are left to learn from

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        means = averages(uploads, federation)
        if not self.options.passes or len(uploads) == 1:  # one client predicts what its mean predicts
            return means
        records, held_out = self._public(round, federation)
        batches, logits, weights = {}, {}, {}
        for name, clients in by_backbone(uploads, federation).items():
            batches[name] = self.server.batches(name, records)
            members = [adapters.part(SHARED, uploads[i].tensors) for i in clients]
            logits[name], weights[name] = self.server.ensemble(name, members, batches[name]), len(clients)

        downloads = dict(means)
        for name, clients in by_backbone(uploads, federation).items():
            mean = adapters.part(SHARED, means[clients[0]].tensors)
            distilled = self._distilled(round, name, mean, self._teacher(name, logits, weights, batches), batches[name])
            if held_out and self._no_better(name, distilled, mean, held_out):
                continue
            for i in clients:
                downloads[i] = Download(dict(means[i].tensors) | adapters.prefixed(SHARED, distilled))
        return downloads

    def _public(self, round: int, federation: Federation) -> tuple[list[Record], list[Record]]:
        """What this aggregation learns from, and what is held out."""
        options = self.options
        drawn = public_records(federation, options.records + options.held_out, f"distillation {round}", "perada")
        if len(drawn) <= options.held_out:
            raise DrakeError(
                f"perada.held_out is {options.held_out}, and the dataset has {len(drawn)} public records: none are "
                "left to learn from."
            )
        return drawn[options.held_out :], drawn[: options.held_out]

    def _teacher(
        self,
        student: str,
        logits: Mapping[str, list[Tensor]],
        weights: Mapping[str, int],
        batches: Mapping[str, list[Batch]],
    ) -> list[Tensor]:
        """p of every batch, [n, V] at the student's answer tokens."""
        tau = self.options.temperature
        records = [record for batch in batches[student] for record in batch.records]
        alike = [name for name in logits if self.server.translation(name, student).exact(records)]
        others = {
            name: self.server.targets(name, logits[name], student, (batches[name], batches[student]), tau)
            for name in logits
            if name not in alike
        }
        found = []
        for number in range(len(batches[student])):
            count = sum(weights[name] for name in alike)
            mean = sum(weights[name] * logits[name][number] for name in alike) / count
            total, weight = count * softened(mean, tau), torch.full((len(mean), 1), float(count), device=mean.device)
            for name, targets in others.items():
                rows, probabilities = targets[number]
                total[rows] += weights[name] * probabilities
                weight[rows] += weights[name]
            found.append(total / weight)
        return found

    def _distilled(
        self, round: int, name: str, mean: State, teacher: Sequence[Tensor], batches: Sequence[Batch]
    ) -> State:
        def loss(number: int, logits: Tensor, gold: Tensor) -> Tensor:
            return divergence(logits, teacher[number], self.options.temperature)

        return self.server.taught(name, mean, batches, loss, round, passes=self.options.passes, rate=self.options.rate)

    def _no_better(self, name: str, distilled: State, mean: State, held_out: Sequence[Record]) -> bool:
        batches = self.server.batches(name, held_out)
        return self.server.loss(name, distilled, batches) >= self.server.loss(name, mean, batches)

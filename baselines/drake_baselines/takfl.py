"""TAKFL: the ensemble of every backbone is distilled separately into every mean, and the task vectors are averaged.

    clients      as FedIT (`fedit`)
    server       mean_a = mean of G_i over the clients of backbone a
                 for every backbone b, a itself included:
                     G_ab <- AdamW from mean_a on KL_3(z(G) || p_b) + 0.01 KL_20(z(G) || p_mean), on public records
                 G_a <- mean_a + mean over b of (G_ab - mean_a)
    inference    G_i as it was trained (evaluated `trained`), the received G_a (`aggregated`)

p_b = the prediction of the ensemble of the clients of b: the softmax of their mean logits, translated where b has
another tokenizer (`translation`); p_mean = the prediction of mean_a itself. KL_tau as in `distillation`. The ensemble
of one client is its own mean, so G_aa - mean_a is zero where a has one client.

Every aggregation draws 80 public records, or takes all where there are fewer, and makes one pass over them.

Reference: TAKFL, Morafah et al., NeurIPS 2024, arXiv 2402.07812, with equal weights for all task vectors. What differs
from the official code: the official code subtracts the wrong pair, so that its task vectors are zero and FedIT remains
(`takfl.zero_vectors=true`); its budget of 75 steps for 100 of SFT charges the server's work to the clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drake.config import Training
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Download, Federation, Method, State, Upload

from .averaging import SHARED, averages, by_backbone
from .distillation import Distilling, Loss, divergence, public_records, softened
from .fedit import FedIT
from .translation import Target


class TAKFL(Distilling, FedIT):
    """See the module's docstring."""

    reference = "TAKFL, Morafah et al., NeurIPS 2024, arXiv 2402.07812"
    relative_cost = 1.0

    @dataclass(frozen=True)
    class Options(Method.Options):
        """temperature: tau of the KL to the ensembles. own_weight, own_temperature: weight and tau of the KL to p_mean.
        records: public records of an aggregation. passes: epochs over them. rate: factor of the learning rate of local
        training. zero_vectors: repeat the official fault."""

        temperature: float = 3.0
        own_weight: float = 0.01
        own_temperature: float = 20.0
        records: int = 80
        passes: int = 1
        rate: float = 1.0
        zero_vectors: bool = False

        def __post_init__(self) -> None:
            if not (min(self.temperature, self.own_temperature) > 0 and self.own_weight >= 0):
                raise DrakeError(
                    "takfl needs temperatures > 0 and own_weight >= 0, not "
                    f"{self.temperature}, {self.own_temperature} and {self.own_weight}."
                )
            if not (self.records >= 1 and self.passes >= 0 and self.rate > 0):
                raise DrakeError(
                    "takfl needs records >= 1, passes >= 0 and rate > 0, not "
                    f"{self.records}, {self.passes} and {self.rate}."
                )

    def __init__(self, training: Training, options: Mapping[str, str] | None = None) -> None:
        super().__init__(training, options)
        self.needs_public = self.options.passes > 0 and not self.options.zero_vectors

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        means = averages(uploads, federation)
        if self.options.zero_vectors or not self.options.passes:
            return means
        records = public_records(federation, self.options.records, f"distillation {round}", "takfl")
        groups = by_backbone(uploads, federation)
        batches = {name: self.server.batches(name, records) for name in groups}
        predicted = self.server.ensembles(groups, uploads, batches)
        downloads = dict(means)
        for student, clients in groups.items():
            mean = adapters.part(SHARED, means[clients[0]].tensors)
            itself = self.server.logits(student, mean, batches[student])
            own = [softened(logits, self.options.own_temperature) for logits in itself]
            vectors: list[State] = []
            for teacher in groups:
                if teacher == student and len(clients) == 1:  # AdamW would amplify rounding errors to full steps
                    vectors.append({name: torch.zeros_like(tensor) for name, tensor in mean.items()})
                    continue
                both = batches[teacher], batches[student]
                targets = self.server.targets(teacher, predicted[teacher], student, both, self.options.temperature)
                loss, draw = self._loss(targets, own), (round, federation.backbone(teacher).revision)
                how = {"passes": self.options.passes, "rate": self.options.rate}
                distilled = self.server.taught(student, mean, batches[student], loss, *draw, **how)
                vectors.append({name: distilled[name] - tensor for name, tensor in mean.items()})
            added = adapters.mean(vectors)
            result = {name: tensor + added[name] for name, tensor in mean.items()}
            downloads |= {i: Download(adapters.prefixed(SHARED, result)) for i in clients}
        return downloads

    def _loss(self, targets: Sequence[Target], own: Sequence[Tensor]) -> Loss:
        """KL_3(z || p_b) + 0.01 KL_20(z || p_mean). targets: p_b; own: p_mean."""
        options = self.options

        def loss(number: int, logits: Tensor, gold: Tensor) -> Tensor:
            rows, probabilities = targets[number]
            to_ensemble = divergence(logits[rows], probabilities, options.temperature)
            return to_ensemble + options.own_weight * divergence(logits, own[number], options.own_temperature)

        return loss

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

Every aggregation draws `records` public records (80; 16 in the presets quick and mini), or takes all where there are
fewer, and makes one pass over them.

Reference: TAKFL, Morafah et al., NeurIPS 2024, arXiv 2402.07812, with equal weights for all task vectors. What differs
from the official code: the official code subtracts the wrong pair, so that its task vectors are zero and FedIT remains
(`takfl.zero_vectors=true`); its budget of 75 steps for 100 of SFT charges the server's work to the clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from drake.config import Training
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Download, Federation, Method, Upload

from .averaging import SHARED, averages, by_backbone
from .distillation import divergence, softened
from .distilling_server import Distilling, Drawing, Lesson, uploaded
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
        drawing = Drawing(self.options.records, f"distillation {round}", "takfl")
        records, groups = drawing.records(federation), by_backbone(uploads, federation)
        start = {name: adapters.part(SHARED, means[clients[0]].tensors) for name, clients in groups.items()}
        members = {name: uploaded(SHARED, clients, uploads) for name, clients in groups.items()}
        predicted = self.server.ensembles(members, drawing, federation)
        of_means = self.server.ensembles({name: [mean] for name, mean in start.items()}, drawing, federation)
        # Where a backbone has one client its ensemble is its mean: AdamW would amplify rounding errors to full steps.
        pairs = [(a, b) for a in groups for b in groups if a != b or len(groups[a]) > 1]
        options, lessons = self.options, []
        for student, teacher in pairs:
            tau = options.temperature
            targets = self.server.targets(teacher, predicted[teacher], student, records, tau)
            own = [softened(logits, options.own_temperature) for logits in of_means[student]]
            loss = ToEnsembles(targets, own, tau, options.own_weight, options.own_temperature)
            draw = (round, federation.backbone(teacher).revision)
            lessons.append(Lesson(student, start[student], drawing, loss, draw, options.passes, options.rate))
        distilled = dict(zip(pairs, federation.compute(self, lessons), strict=True))
        downloads = dict(means)
        for student, mean in start.items():
            vectors = [
                {name: distilled.get((student, teacher), mean)[name] - tensor for name, tensor in mean.items()}
                for teacher in groups
            ]
            added = adapters.mean(vectors)
            result = {name: tensor + added[name] for name, tensor in mean.items()}
            downloads |= {i: Download(adapters.prefixed(SHARED, result)) for i in groups[student]}
        return downloads


@dataclass(frozen=True)
class ToEnsembles:
    """KL_tau(z || p_b) + own_weight KL_own_tau(z || p_mean). targets: p_b; own: p_mean, for every batch."""

    targets: Sequence[Target]
    own: Sequence[Tensor]
    tau: float
    own_weight: float
    own_tau: float

    def __call__(self, number: int, logits: Tensor, gold: Tensor) -> Tensor:
        rows, probabilities = (tensor.to(logits.device) for tensor in self.targets[number])
        to_ensemble = divergence(logits[rows], probabilities, self.tau)
        return to_ensemble + self.own_weight * divergence(logits, self.own[number].to(logits.device), self.own_tau)

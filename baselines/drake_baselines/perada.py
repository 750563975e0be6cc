"""PerAda: DITTO, with a server that distils the ensemble of all clients' shared adapters into every mean.

    clients      as DITTO (`ditto`)
    server       G_a <- mean of G_i over the clients of backbone a
                 G_a <- AdamW on KL(z(G_a) || p), on public records
                 p = the mean over all clients i of the predictions z(G_i)
    inference    L, which never leaves the client; the same evaluated `trained` and `aggregated`

KL as in `distillation`, at temperature 2. Clients whose backbones write the answers with the same ids as the student's
(its own, and others of the same vocabulary) contribute the softmax of their mean logits; every other backbone
contributes the softmax of its clients' mean logits, translated (`translation`). These probabilities are averaged,
weighted by the number of clients; at a token without a translated prediction the average is over the others.

Every aggregation draws `records` public records (80; 16 in the presets quick and mini), or takes all where there are
fewer, and makes one pass over them. With `passes=0`, or with a single client, this is DITTO.

Reference: PerAda, Xie et al., CVPR 2024, arXiv 2302.06637. What differs from the official code
(`perada.preset=official`): the official temperature is 1, the penalty is (lambda/2) ||L - G0||^2 with lambda 0.1 (or 1,
which is `perada.penalty=0.5`), and the distilled adapter is discarded unless its loss on held-out public records is
below that of the plain mean. Not repeated here: the official teachers predict with dropout, and those of another
backbone with whichever adapter was last active. The official code also averages L (`perada.average_personal=true`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from drake.config import Training
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Download, Federation, State, Upload

from .averaging import SHARED, averages, by_backbone
from .distillation import divergence, public_batches, softened
from .distilling_server import Distilling, Drawing, Lesson, uploaded
from .ditto import Ditto


class PerAda(Distilling, Ditto):
    """See the module's docstring."""

    reference = "PerAda, Xie et al., CVPR 2024, arXiv 2302.06637"
    presets: ClassVar = {"official": {"temperature": 1.0, "penalty": 0.05, "held_out": 20}}

    @dataclass(frozen=True)
    class Options(Ditto.Options):
        """penalty, average_personal: as DITTO's. temperature: tau of the KL. records: public records of an aggregation.
        passes: epochs over them. rate: factor of the learning rate of local training. held_out: further public records,
        on which a distilled adapter must have a lower loss than the plain mean to replace it; 0: it always does."""

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
            self._public(0, federation)  # fail before round 1 if held_out leaves no records to train on

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        means = averages(uploads, federation)
        if not self.options.passes or len(uploads) == 1:  # the mean of one client is its own adapter
            return means
        records, held_out = self._public(round, federation)
        drawing = self._drawing(round)
        groups = by_backbone(uploads, federation)
        members = {name: uploaded(SHARED, clients, uploads) for name, clients in groups.items()}
        predicted = self.server.ensembles(members, drawing, federation)
        weights = {name: len(clients) for name, clients in groups.items()}
        lessons = [
            Lesson(
                name,
                adapters.part(SHARED, means[clients[0]].tensors),
                drawing,
                ToTeacher(self._teacher(name, predicted, weights, records), self.options.temperature),
                (round,),
                self.options.passes,
                self.options.rate,
            )
            for name, clients in groups.items()
        ]
        downloads = dict(means)
        for lesson, distilled in zip(lessons, federation.compute(self, lessons), strict=True):
            if held_out and self._no_better(lesson.backbone, distilled, lesson.start, held_out):
                continue
            for i in groups[lesson.backbone]:
                downloads[i] = Download(dict(means[i].tensors) | adapters.prefixed(SHARED, distilled))
        return downloads

    def _drawing(self, round: int) -> Drawing:
        """The public records that this aggregation trains on; those held out are drawn before them."""
        options = self.options
        return Drawing(options.records + options.held_out, f"distillation {round}", "perada", options.held_out)

    def _public(self, round: int, federation: Federation) -> tuple[list[DatasetRow], list[DatasetRow]]:
        """The public records that this aggregation trains on, and those held out."""
        drawing = self._drawing(round)
        drawn = replace(drawing, skipped=0).records(federation)
        if len(drawn) <= drawing.skipped:
            raise DrakeError(
                f"perada.held_out is {drawing.skipped}, but the dataset has {len(drawn)} public records, so none are "
                "left to train on; choose a lower perada.held_out."
            )
        return drawn[drawing.skipped :], drawn[: drawing.skipped]

    def _teacher(
        self,
        student: str,
        logits: Mapping[str, list[Tensor]],
        weights: Mapping[str, int],
        records: Sequence[DatasetRow],
    ) -> list[Tensor]:
        """p for every batch of the records, [n, V] at the student's answer tokens."""
        tau = self.options.temperature
        alike = [name for name in logits if self.server.translation(name, student).exact(records)]
        others = {
            name: self.server.targets(name, logits[name], student, records, tau) for name in logits if name not in alike
        }
        found: list[Tensor] = []
        for number, of_student in enumerate(logits[student]):
            count = sum(weights[name] for name in alike)
            zero = torch.zeros_like(of_student)
            mean = sum((weights[name] * logits[name][number] for name in alike), zero) / count
            total, weight = count * softened(mean, tau), torch.full((len(mean), 1), float(count), device=mean.device)
            for name, targets in others.items():
                rows, probabilities = targets[number]
                total[rows] += weights[name] * probabilities
                weight[rows] += weights[name]
            found.append(total / weight)
        return found

    def _no_better(self, name: str, distilled: State, mean: State, held_out: Sequence[DatasetRow]) -> bool:
        batches = public_batches(self.federation.backbone(name), held_out, self.training)
        return self.server.loss(name, distilled, batches) >= self.server.loss(name, mean, batches)


@dataclass(frozen=True)
class ToTeacher:
    """KL(z || p). teacher: p for every batch."""

    teacher: Sequence[Tensor]
    temperature: float

    def __call__(self, number: int, logits: Tensor, gold: Tensor) -> Tensor:
        return divergence(logits, self.teacher[number].to(logits.device), self.temperature)

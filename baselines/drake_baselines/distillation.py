"""Distillation on public data: the common part of PerAda, TAKFL and FedMKT, and the KL that FedDAT uses too.

    KL(z || p) = tau^2 mean over answer tokens of sum_v p_v log(p_v / q_v),      q = softmax(z / tau)

Teachers predict without dropout, with one adapter active, once for all steps of a student. Students train with dropout,
seeded from (seed, round, backbone); as in local training, an optimizer step accumulates `accumulation` micro-batches.

The probabilities of a teacher with another tokenizer are translated to the student's tokens (`translation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.common.seeds import derive
from drake.common.stopping import safe_point
from drake.config import Training
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.local_training import LocalOptimizer
from drake.federation.method import Federation, Method, State, Upload
from drake.models.backbones import IGNORED, Backbone, Batch, answer_logits

from .averaging import SHARED
from .translation import Target, Translation

Loss = Callable[[int, Tensor, Tensor], Tensor]
"""(number of the batch, logits [n, V], answer tokens [n]) -> the loss."""


def softened(logits: Tensor, temperature: float) -> Tensor:
    """softmax(z / tau), in float32."""
    return (logits.float() / temperature).softmax(-1)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the module's docstring. student: logits [n, V] of n answer tokens; teacher: probabilities [n, V], the
    softmax at the same temperature."""
    log_q = (student.float() / temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(log_q, teacher, reduction="batchmean")


def public_records(federation: Federation, count: int, purpose: str, method: str) -> list[Mapping[str, Any]]:
    """`count` public records, or all where there are fewer; the same records for the same purpose. DrakeError if there
    are none."""
    records = federation.public(count, purpose)
    if not records:
        raise DrakeError(
            f"{method} distils on public records, and the dataset has none; choose a dataset that has some."
        )
    return records


def public_batches(backbone: Backbone, records: Sequence[DatasetRow], training: Training) -> list[Batch]:
    """The records in micro-batches of this backbone's tokens; the last may be smaller."""
    size = training.micro_batch
    return [backbone.batch(records[start : start + size], answers=True) for start in range(0, len(records), size)]


def answer_lengths(batch: Batch) -> list[int]:
    """Number of answer tokens of every row."""
    return (_labels(batch) != IGNORED).sum(1).tolist()


def answer_tokens(batch: Batch) -> Tensor:
    """The ids [n] of the answer tokens of all rows, in order."""
    labels = _labels(batch)
    return labels[labels != IGNORED]


def _labels(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise ValueError("a batch without answers has no answer tokens")
    return batch.labels


@torch.no_grad()
def logits_of(
    model: nn.Module, values: Mapping[str, Tensor], batches: Sequence[Batch], adapter: str = SHARED
) -> list[Tensor]:
    """For every batch the logits [n, V], in float32, of its answer tokens, with one adapter active that has these
    values."""
    adapters.write(model, adapter, values)
    adapters.activate(model, adapter)
    model.eval()
    return [answer_logits(model, batch)[0].float() for batch in batches]


def learn(
    model: nn.Module,
    batches: Sequence[Batch],
    loss: Loss,
    training: Training,
    passes: int = 1,
    rate: float = 1.0,
    adapter: str = SHARED,
) -> None:
    """Train one adapter in `model`, in place, for `passes` epochs over the batches, in order. rate: factor of the
    learning rate of local training."""
    adapters.activate(model, adapter)
    trained = adapters.train_only(model, adapters.tensors(model, adapter).values())
    optimizer = LocalOptimizer([(trained, training.learning_rate * rate)], training)
    model.train()
    numbers = range(len(batches))
    for _ in range(passes):
        for start in range(0, len(batches), training.accumulation):
            safe_point()
            step = numbers[start : start + training.accumulation]
            optimizer.step(lambda number: loss(number, *answer_logits(model, batches[number])), step)


def joined(predicted: Sequence[Target | None], lengths: Sequence[int]) -> Target | None:
    """The targets of a batch's records as one target of the batch; None where no record has one. lengths: number of
    answer tokens of every record."""
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    found = [(start, *target) for start, target in zip(starts, predicted, strict=True) if target and len(target.rows)]
    if not found:
        return None
    return Target(torch.cat([rows + start for start, rows, _ in found]), torch.cat([p for _, _, p in found]))


class Distilling(Method):
    """A method whose server distils, by means of `server`."""

    distilled: ClassVar[str] = SHARED
    """The adapter that the server trains."""

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self.server = Server(self, federation, self.distilled)


class Server:
    """The server's computations on the backbones of this process, with the method's adapters attached to them.

    adapter: the one that the server reads and trains. Clients may train in other processes, so the adapters are
    attached here when a backbone is first needed.
    """

    def __init__(self, method: Method, federation: Federation, adapter: str = SHARED) -> None:
        self.federation, self.adapter = federation, adapter
        self._method = method
        self._translations: dict[tuple[str, str], Translation] = {}

    def model(self, name: str) -> nn.Module:
        """The model of a backbone, with the method's adapters."""
        client = next(client for client in self.federation.clients if client.backbone == name)
        return self._method.attach(self.federation.backbone(name), client)

    def batches(self, name: str, records: Sequence[DatasetRow]) -> list[Batch]:
        """See `public_batches`."""
        return public_batches(self.federation.backbone(name), records, self.federation.training)

    def translation(self, source: str, target: str) -> Translation:
        """The translation from the tokens of one backbone to those of another; made once per pair."""
        if (source, target) not in self._translations:
            sides = self.federation.backbone(source), self.federation.backbone(target)
            self._translations[source, target] = Translation(*sides)
        return self._translations[source, target]

    def logits(self, name: str, values: Mapping[str, Tensor], batches: Sequence[Batch]) -> list[Tensor]:
        """`logits_of` the model of a backbone."""
        return logits_of(self.model(name), values, batches, self.adapter)

    def ensemble(self, name: str, members: Sequence[State], batches: Sequence[Batch]) -> list[Tensor]:
        """For every batch the logits [n, V] of a backbone, averaged over the members: values of its adapter."""
        safe_point()
        sums = self.logits(name, members[0], batches)
        for member in members[1:]:
            safe_point()
            found = self.logits(name, member, batches)
            sums = [total.add_(one) for total, one in zip(sums, found, strict=True)]
        return [total / len(members) for total in sums]

    def ensembles(
        self,
        clients: Mapping[str, Sequence[int]],
        uploads: Mapping[int, Upload],
        batches: Mapping[str, Sequence[Batch]],
    ) -> dict[str, list[Tensor]]:
        """Backbone -> the `ensemble` of what its clients have uploaded of the adapter. clients, batches: by
        backbone."""
        sent = {client: adapters.part(self.adapter, upload.tensors) for client, upload in uploads.items()}
        return {
            name: self.ensemble(name, [sent[client] for client in group], batches[name])
            for name, group in clients.items()
        }

    def targets(
        self,
        source: str,
        predicted: Sequence[Tensor],
        target: str,
        batches: tuple[Sequence[Batch], Sequence[Batch]],
        tau: float,
    ) -> list[Target]:
        """For every batch the softmax at temperature tau of the logits `predicted` by `source`, in the tokens of
        `target`. batches: the same records in the tokens of source and in those of target."""
        translation = self.translation(source, target)
        found: list[Target] = []
        for logits, of_source, of_target in zip(predicted, *batches, strict=True):
            parts = softened(logits, tau).split(answer_lengths(of_source))
            everywhere = [Target(torch.arange(len(part), device=part.device), part) for part in parts]
            each = [translation(part, record) for part, record in zip(everywhere, of_target.records, strict=True)]
            target_of_batch = joined(each, answer_lengths(of_target))
            assert target_of_batch is not None  # the end of the turn always has a counterpart
            found.append(target_of_batch)
        return found

    def taught(
        self,
        name: str,
        start: State,
        batches: Sequence[Batch],
        loss: Loss,
        *draw: object,
        passes: int = 1,
        rate: float = 1.0,
    ) -> State:
        """The adapter's values after `learn`, starting from `start`. draw: seeds the dropout, together with the run's
        seed and the backbone."""
        model, backbone = self.model(name), self.federation.backbone(name)
        adapters.write(model, self.adapter, start)
        with _seeded(backbone.device, derive(self.federation.seed, "distillation", backbone.revision, *draw)):
            learn(model, batches, loss, self.federation.training, passes, rate, self.adapter)
        return adapters.read(model, self.adapter)

    def loss(self, name: str, values: State, batches: Sequence[Batch]) -> float:
        """Cross-entropy with these values of the adapter, averaged over the answer tokens of all batches."""
        total = count = 0.0
        for batch, logits in zip(batches, self.logits(name, values, batches), strict=True):
            gold = answer_tokens(batch)
            total += F.cross_entropy(logits, gold, reduction="sum").item()
            count += len(gold)
        return total / count


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed PyTorch's global generator, from which dropout draws, and restore its state afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

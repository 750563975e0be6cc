"""Distillation on public data: the common part of PerAda, TAKFL and FedMKT, and the KL that FedDAT uses too. What the
server does with it is in `distilling_server`.

    KL(z || p) = tau^2 mean over answer tokens of sum_v p_v log(p_v / q_v),      q = softmax(z / tau)

Teachers predict without dropout, with one adapter active, once for all steps of a student. Students train with dropout,
seeded from (seed, round, backbone); as in local training, an optimizer step accumulates `accumulation` micro-batches.

The probabilities of a teacher with another tokenizer are translated to the student's tokens (`translation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.common.stopping import safe_point
from drake.config import Training
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.federation import Federation
from drake.federation.local_training import LocalOptimizer
from drake.models.backbones import IGNORED, Backbone, Batch, answer_logits

from .averaging import SHARED
from .translation import Target

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

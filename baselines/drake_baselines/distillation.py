"""Distillation on public data: what PerAda, TAKFL and FedMKT have in common, and the KL that FedDAT shares.

    KL(z || p) = tau^2 mean over answer tokens of sum_v p_v log(p_v / q_v),      q = softmax(z / tau)

A teacher answers without dropout, with its own adapter alone, once for all steps of a student. Students learn with
dropout, drawn from (seed, round, backbone), in the steps of local training: `accumulation` micro-batches in each.

Teachers that write with other tokens are read through `translation`, after the softmax.
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
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.local_training import LocalOptimizer
from drake.federation.method import Federation, Method, State
from drake.models.backbones import IGNORED, Backbone, Batch, answer_logits

from .averaging import SHARED
from .translation import Record, Target, Translation

Loss = Callable[[int, Tensor, Tensor], Tensor]
"""(number of the batch, logits [n, V], answer tokens [n]) -> what is minimised."""


def softened(logits: Tensor, temperature: float) -> Tensor:
    """softmax(z / tau), in float32."""
    return (logits.float() / temperature).softmax(-1)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL of the module's docstring. student: logits [n, V] of n answer tokens; teacher: probabilities [n, V], softened
    by the same temperature."""
    log_q = (student.float() / temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(log_q, teacher, reduction="batchmean")


def public_records(federation: Federation, count: int, purpose: str, method: str) -> list[Mapping[str, Any]]:
    """`count` public records, the same for the same purpose; all there are where they are fewer. DrakeError if there
    are none."""
    records = federation.public(count, purpose)
    if not records:
        raise DrakeError(f"{method} distils on public records, and the dataset has none; choose a dataset with some.")
    return records


def public_batches(backbone: Backbone, records: Sequence[Record], training: Training) -> list[Batch]:
    """The records in micro-batches, as this backbone reads them; the last may be smaller."""
    size = training.micro_batch
    return [backbone.batch(records[start : start + size], answers=True) for start in range(0, len(records), size)]


def answer_lengths(batch: Batch) -> list[int]:
    """Answer tokens of every row."""
    return (batch.labels != IGNORED).sum(1).tolist()


@torch.no_grad()
def logits_of(
    model: nn.Module, values: Mapping[str, Tensor], batches: Sequence[Batch], adapter: str = SHARED
) -> list[Tensor]:
    """What the model predicts with these values of one adapter alone: for every batch logits [n, V] of its answer
    tokens, float32."""
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
    """Train one adapter in `model`, in place: so many times through the batches, in order. rate: times the learning
    rate of local training."""
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
    """Targets of single records as one of their batch; None where nothing is predicted. lengths: answer tokens of every
    record."""
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    found = [(start, *target) for start, target in zip(starts, predicted, strict=True) if target and len(target.rows)]
    if not found:
        return None
    return Target(torch.cat([rows + start for start, rows, _ in found]), torch.cat([p for _, _, p in found]))


class Distilling(Method):
    """A method whose server distils; `server` does it."""

    distilled: ClassVar[str] = SHARED
    """The adapter that the server teaches."""

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self.server = Server(self, federation, self.distilled)


class Server:
    """Where the server distils: the backbones of this process, with the method's adapters on them.

    adapter: the one that learns. Other processes may do the clients' work, so adapters are attached here when they are
    first needed.
    """

    def __init__(self, method: Method, federation: Federation, adapter: str = SHARED) -> None:
        self.federation, self.adapter = federation, adapter
        self._method = method
        self._translations: dict[tuple[str, str], Translation] = {}

    def model(self, name: str) -> nn.Module:
        """The model of a backbone."""
        client = next(client for client in self.federation.clients if client.backbone == name)
        return self._method.attach(self.federation.backbone(name), client)

    def batches(self, name: str, records: Sequence[Record]) -> list[Batch]:
        """See `public_batches`."""
        return public_batches(self.federation.backbone(name), records, self.federation.training)

    def translation(self, source: str, target: str) -> Translation:
        """Made once for each two backbones."""
        if (source, target) not in self._translations:
            sides = self.federation.backbone(source), self.federation.backbone(target)
            self._translations[source, target] = Translation(*sides)
        return self._translations[source, target]

    def logits(self, name: str, values: Mapping[str, Tensor], batches: Sequence[Batch]) -> list[Tensor]:
        """`logits_of` the model of a backbone."""
        return logits_of(self.model(name), values, batches, self.adapter)

    def ensemble(self, name: str, members: Sequence[State], batches: Sequence[Batch]) -> list[Tensor]:
        """For every batch the mean logits [n, V] of a backbone with each of these values of the adapter."""
        safe_point()
        sums = self.logits(name, members[0], batches)
        for member in members[1:]:
            safe_point()
            found = self.logits(name, member, batches)
            sums = [total.add_(one) for total, one in zip(sums, found, strict=True)]
        return [total / len(members) for total in sums]

    def targets(
        self,
        source: str,
        predicted: Sequence[Tensor],
        target: str,
        batches: tuple[Sequence[Batch], Sequence[Batch]],
        tau: float,
    ) -> list[Target]:
        """For every batch what the logits `predicted` of `source` tell `target`, softened by tau. batches: the same
        records as source and target read them."""
        translation, found = self.translation(source, target), []
        for logits, read, own in zip(predicted, *batches, strict=True):
            parts = softened(logits, tau).split(answer_lengths(read))
            everywhere = [Target(torch.arange(len(part), device=part.device), part) for part in parts]
            told = [translation(part, record) for part, record in zip(everywhere, own.records, strict=True)]
            found.append(joined(told, answer_lengths(own)))
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
        """The adapter's values after `learn`, from `start`. draw: names the dropout, beside seed and backbone."""
        model, backbone = self.model(name), self.federation.backbone(name)
        adapters.write(model, self.adapter, start)
        with _seeded(backbone.device, derive(self.federation.seed, "distillation", backbone.revision, *draw)):
            learn(model, batches, loss, self.federation.training, passes, rate, self.adapter)
        return adapters.read(model, self.adapter)

    def loss(self, name: str, values: State, batches: Sequence[Batch]) -> float:
        """Cross-entropy with these values of the adapter, averaged over all answer tokens."""
        total = count = 0.0
        for batch, logits in zip(batches, self.logits(name, values, batches), strict=True):
            gold = batch.labels[batch.labels != IGNORED]
            total += F.cross_entropy(logits, gold, reduction="sum").item()
            count += len(gold)
        return total / count


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Dropout draws from PyTorch's global generator: seeded inside, restored afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

"""The server of PerAda, TAKFL and FedMKT: ensembles of clients predict on public records, and students learn from them.

What takes long is a work, `Ensemble` or `Lesson`: it names public records instead of holding them, and is done by
whichever worker `Federation.compute` gives it to. Its result has the same bits wherever it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.common.seeds import derive
from drake.common.stopping import safe_point
from drake.data.record import DatasetRow
from drake.federation import adapters
from drake.federation.federation import Federation
from drake.federation.method import Method, State, Upload
from drake.models.backbones import Batch

from .averaging import SHARED
from .distillation import Loss, answer_tokens, joined, learn, logits_of, public_batches, public_records, softened
from .translation import Target, Translation

PARTS = 4
"""Into how many parts, each of some public records, the prediction of an ensemble is divided."""


@dataclass(frozen=True)
class Drawing:
    """Public records that every worker can draw: `count` for a purpose, without the first `skipped` of them. method:
    who asks, for errors."""

    count: int
    purpose: str
    method: str
    skipped: int = 0

    def records(self, federation: Federation) -> list[Mapping[str, Any]]:
        """The records; see `public_records`."""
        return public_records(federation, self.count, self.purpose, self.method)[self.skipped :]


@dataclass(frozen=True)
class Ensemble:
    """Work of a server: for every batch from `first` to before `last` the logits [n, V], float32, of a backbone,
    averaged over the members: values of the adapter that the server distils."""

    backbone: str
    members: Sequence[State]
    drawing: Drawing
    first: int
    last: int

    @property
    def weight(self) -> float:
        return len(self.members) * (self.last - self.first)

    def __call__(self, method: Method) -> list[Tensor]:
        server = _server_of(method)
        batches = server.batches(self.backbone, self.drawing, self.first, self.last)
        sums = server.logits(self.backbone, self.members[0], batches)
        for member in self.members[1:]:
            safe_point()
            found = server.logits(self.backbone, member, batches)
            sums = [total.add_(one) for total, one in zip(sums, found, strict=True)]
        return [total / len(self.members) for total in sums]


@dataclass(frozen=True)
class Lesson:
    """Work of a server: the adapter's values after `learn`, starting from `start`.

    loss: picklable; moves its own tensors to the logits' device. draw: seeds the dropout, together with the run's seed
    and the backbone.
    """

    backbone: str
    start: State
    drawing: Drawing
    loss: Loss
    draw: tuple[object, ...] = ()
    passes: int = 1
    rate: float = 1.0

    @property
    def weight(self) -> float:
        return float("inf")  # it cannot be divided, so it begins first

    def __call__(self, method: Method) -> State:
        server = _server_of(method)
        batches = server.batches(self.backbone, self.drawing)
        how = {"passes": self.passes, "rate": self.rate}
        return server.taught(self.backbone, self.start, batches, self.loss, *self.draw, **how)


def _server_of(method: Method) -> Server:
    return cast(Distilling, method).server


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
    attached here when a backbone is first needed. What takes long is a work (`Ensemble`, `Lesson`), which
    `Federation.compute` does on whichever worker is free.
    """

    def __init__(self, method: Method, federation: Federation, adapter: str = SHARED) -> None:
        self.federation, self.adapter = federation, adapter
        self._method = method
        self._translations: dict[tuple[str, str], Translation] = {}

    def model(self, name: str) -> nn.Module:
        """The model of a backbone, with the method's adapters."""
        client = next(client for client in self.federation.clients if client.backbone == name)
        return self._method.attach(self.federation.backbone(name), client)

    def batches(self, name: str, drawing: Drawing, first: int = 0, last: int | None = None) -> list[Batch]:
        """The public records in micro-batches (see `public_batches`), from the first to before the last."""
        size = self.federation.training.micro_batch
        records = drawing.records(self.federation)[first * size : None if last is None else last * size]
        return public_batches(self.federation.backbone(name), records, self.federation.training)

    def groups(self, records: Sequence[DatasetRow]) -> list[Sequence[DatasetRow]]:
        """The records of every micro-batch."""
        size = self.federation.training.micro_batch
        return [records[start : start + size] for start in range(0, len(records), size)]

    def lengths(self, name: str, records: Sequence[DatasetRow]) -> list[int]:
        """The number of answer tokens of every record, for a backbone."""
        chat = self.federation.backbone(name).chat
        return [len(chat.answer_ids(record)) for record in records]

    def translation(self, source: str, target: str) -> Translation:
        """The translation from the tokens of one backbone to those of another; made once per pair."""
        if (source, target) not in self._translations:
            sides = self.federation.backbone(source), self.federation.backbone(target)
            self._translations[source, target] = Translation(*sides)
        return self._translations[source, target]

    def logits(self, name: str, values: Mapping[str, Tensor], batches: Sequence[Batch]) -> list[Tensor]:
        """`logits_of` the model of a backbone."""
        return logits_of(self.model(name), values, batches, self.adapter)

    def ensembles(
        self, members: Mapping[str, Sequence[State]], drawing: Drawing, federation: Federation
    ) -> dict[str, list[Tensor]]:
        """Backbone -> for every batch the logits of its `Ensemble`. members: by backbone. federation: with `compute`
        of this aggregation."""
        batches = len(self.groups(drawing.records(federation)))
        size = -(-batches // PARTS)
        works = [
            Ensemble(name, each, drawing, first, min(first + size, batches))
            for name, each in members.items()
            for first in range(0, batches, size)
        ]
        found: dict[str, list[Tensor]] = {name: [] for name in members}
        for work, logits in zip(works, federation.compute(self._method, works), strict=True):
            found[work.backbone] += logits
        return found

    def targets(
        self, source: str, predicted: Sequence[Tensor], target: str, records: Sequence[DatasetRow], tau: float
    ) -> list[Target]:
        """For every batch of the records the softmax at temperature tau of the logits `predicted` by `source`, in the
        tokens of `target`."""
        translation = self.translation(source, target)
        found: list[Target] = []
        for logits, group in zip(predicted, self.groups(records), strict=True):
            parts = softened(logits, tau).split(self.lengths(source, group))
            everywhere = [Target(torch.arange(len(part), device=part.device), part) for part in parts]
            each = [translation(part, record) for part, record in zip(everywhere, group, strict=True)]
            target_of_batch = joined(each, self.lengths(target, group))
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


def uploaded(adapter: str, clients: Iterable[int], uploads: Mapping[int, Upload]) -> list[State]:
    """What these clients have uploaded of an adapter."""
    return [adapters.part(adapter, uploads[client].tensors) for client in clients]


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed PyTorch's global generator, from which dropout draws, and restore its state afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

"""FedMKT: clients and a model of the server teach each other what they predict on public records; no weights are sent.

    public set D    one public record for every three that a client trains on in a round; the same in all rounds
    client i        L_i <- AdamW on loss_i over D              (once the server has answered)
                    L_i <- AdamW on CE(L_i) over its own records
                    sends for every record of D the CE of the answer and the 128 largest logits of its first tokens
    server          a LoRA W on the largest backbone of the federation
                    W <- AdamW on loss_W over D,               answers with the CE and logits of W
    inference       L_i, the same evaluated `trained` and `aggregated`: it learns from an answer in its next round

    loss            0.9 CE + 0.1 KL_1(z || p) on the records of D where the teacher's CE is below the student's own;
                    0.9 CE on the others. Teacher of the server: the client with the smallest CE on that record;
                    teacher of a client: the server
    p               the softmax over the logits that were sent; for another backbone translated (`translation`), which
                    the server does both ways, as it knows all tokenizers

Where the public split is smaller than D, its records are repeated. A client that is absent counts with what it
sent last.

Reference: FedMKT, Fan et al., COLING 2025, arXiv 2406.02224. What differs from the official code: tokens are aligned by
text spans, not by edit distance; D follows from the steps of a round, so that a client's work on it (learning and being
asked, half a step of SFT for each local step) is counted: 66 or 67 local steps for 100, not the official budget's 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.common.seeds import torch_generator
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import ClientRound, Download, Federation, LocalResult, State, Steps, Upload
from drake.models.backbones import Batch

from .averaging import by_backbone
from .distillation import (
    Distilling,
    Loss,
    Record,
    answer_lengths,
    divergence,
    joined,
    learn,
    logits_of,
    public_batches,
    public_records,
)
from .knowledge import packed, sent_about, unpacked
from .sft import ADAPTER, SFT
from .translation import Target, vocabulary_size

PUBLIC_SHARE = 1 / 3
"""Public records of a round for each of a client's own."""


class FedMKT(Distilling, SFT):
    """See the module's docstring. L trains and answers as in SFT; W is an adapter of the same name at the server."""

    reference = "FedMKT, Fan et al., COLING 2025, arXiv 2406.02224"
    sends = "losses and largest logits on public records"
    needs_public = True
    distilled = ADAPTER
    relative_cost = 1 + PUBLIC_SHARE * 1.5  # a public record is learnt from, and read once more

    @dataclass(frozen=True)
    class Options:
        """logits: how many are sent of every token. tokens: of how many, from the answer's first. weight: of the KL;
        the CE has the rest."""

        logits: int = 128
        tokens: int = 32
        weight: float = 0.1

        def __post_init__(self) -> None:
            if not (self.logits >= 1 and self.tokens >= 1 and 0 <= self.weight <= 1):
                raise DrakeError(
                    "fedmkt needs logits >= 1, tokens >= 1 and weight in [0, 1], not "
                    f"{self.logits}, {self.tokens} and {self.weight}."
                )

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._of_server: State = {}

    @property
    def public_size(self) -> int:
        """Records in D."""
        training = self.training
        own = training.local_steps(self.relative_cost) * training.micro_batch * training.accumulation
        return max(1, round(own * PUBLIC_SHARE))

    def sent(self, now: ClientRound) -> State:
        size, width = self.public_size, vocabulary_size(now.backbone)
        shape = (size, self.options.tokens, min(self.options.logits, width))
        return {
            "losses": torch.empty(size, device="meta"),
            "logits": torch.empty(shape, device="meta"),
            "ids": torch.empty(shape, dtype=torch.int32, device="meta"),
        }

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.for_inference(now)
        public = public_batches(now.backbone, self._public(), self.training)
        if now.download is not None:
            better = (now.download.tensors["losses"] < now.state["losses"]).tolist()
            width = vocabulary_size(now.backbone)
            told = [unpacked(now.download.tensors, i, width) if wins else None for i, wins in enumerate(better)]
            learn(now.model, public, self._loss(told, public), self.training, adapter=ADAPTER)
        losses = self.train(now, batches)
        trained = adapters.read(now.model, ADAPTER)
        answers = self._answers(now.model, trained, public)
        further = sum(batch.input_ids.numel() for batch in public) * (0.5 if now.download is None else 1.5)
        stats = {"loss": sum(losses) / len(losses), "tokens": further}
        return LocalResult(trained | {"losses": answers["losses"]}, Upload(answers), stats)

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        name = largest(federation)
        model, records = self.server.model(name), self._public()
        public = self.server.batches(name, records)
        draw = torch_generator(federation.seed, "server", federation.backbone(name).revision)
        start = self._of_server or adapters.fresh(model, ADAPTER, draw)
        losses = self._answers(model, start, public)["losses"].tolist()
        told = [self._best(i, losses[i], uploads, name, record) for i, record in enumerate(records)]
        self._of_server = self.server.taught(name, start, public, self._loss(told, public), round)
        answers = self._answers(model, self._of_server, public)
        downloads = {}
        for held, clients in by_backbone(uploads, federation).items():
            in_its_tokens = Download(self._translated(answers, name, held, records))
            downloads |= dict.fromkeys(clients, in_its_tokens)
        return dict(sorted(downloads.items()))

    def server_state(self) -> State:
        return self._of_server

    def restore(self, state: State) -> None:
        self._of_server = state

    def for_inference(self, now: ClientRound) -> None:
        adapter = {name: tensor for name, tensor in now.state.items() if name != "losses"}
        super().for_inference(replace(now, state=adapter))

    def _public(self) -> list[Record]:
        """D."""
        found = public_records(self.federation, self.public_size, "fedmkt", "fedmkt")
        return [found[i % len(found)] for i in range(self.public_size)]

    def _loss(self, told: Sequence[Target | None], batches: Sequence[Batch]) -> Loss:
        """told: what its teacher predicts on every record, None where it is no better."""
        lengths = [answer_lengths(batch) for batch in batches]
        rest, weight = iter(told), self.options.weight
        targets = [joined(list(islice(rest, len(some))), some) for some in lengths]

        def loss(number: int, logits: Tensor, gold: Tensor) -> Tensor:
            task, target = (1 - weight) * F.cross_entropy(logits.float(), gold), targets[number]
            if target is None:
                return task
            return task + weight * divergence(logits[target.rows], target.probabilities, 1.0)

        return loss

    def _answers(self, model: nn.Module, values: State, batches: Sequence[Batch]) -> State:
        """What the model predicts about public records, as it is sent."""
        logits = logits_of(model, values, batches, ADAPTER)
        return sent_about(batches, logits, self.options.tokens, self.options.logits)

    def _best(self, number: int, own: float, uploads: Mapping[int, Upload], name: str, record: Record) -> Target | None:
        """What the best client predicts on a record, for the server's backbone; None if no client has a loss below the
        server's own."""
        losses = {i: uploads[i].tensors["losses"][number].item() for i in sorted(uploads)}
        best = min(losses, key=losses.__getitem__)
        if losses[best] >= own:
            return None
        held = self.federation.clients[best].backbone
        predicted = unpacked(uploads[best].tensors, number, vocabulary_size(self.federation.backbone(held)))
        return self.server.translation(held, name)(predicted, record)

    def _translated(self, answers: State, name: str, held: str, records: Sequence[Record]) -> State:
        """The server's answers in the tokens of a client's backbone, as logarithms of probabilities."""
        translation, width = self.server.translation(name, held), vocabulary_size(self.federation.backbone(name))
        if translation.exact(records):
            return answers
        told = [translation(unpacked(answers, number, width), record) for number, record in enumerate(records)]
        scores = [Target(rows, probabilities.log()) for rows, probabilities in told]
        return {"losses": answers["losses"]} | packed(scores, self.options.tokens, self.options.logits)


def largest(federation: Federation) -> str:
    """The backbone with the most weights in its layers, by layers and width; of equals the last by name."""
    held = {client.backbone for client in federation.clients}
    found = {name: federation.backbone(name) for name in held}
    return max(held, key=lambda name: (found[name].num_layers * found[name].hidden_size ** 2, name))

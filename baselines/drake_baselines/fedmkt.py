"""FedMKT: clients and a model of the server teach each other what they predict on public records; no weights are sent.

    public set D    one public record for every three that a client trains on in a round; the same in all rounds
    client i        L_i <- AdamW on loss_i over D              (from the second round on, with the server's answer)
                    L_i <- AdamW on CE(L_i) over its own records
                    sends for every record of D the CE of the answer and the 128 largest logits of its first tokens
    server          a LoRA W on the largest backbone of the federation
                    W <- AdamW on loss_W over D,               sends the CE and the logits of W to the clients
    inference       L_i, the same evaluated `trained` and `aggregated`: it learns from an answer in its next round

    loss            0.9 CE + 0.1 KL_1(z || p) on the records of D where the teacher's CE is below the student's own;
                    0.9 CE on the others. Teacher of the server: the client with the smallest CE on that record;
                    teacher of a client: the server
    p               the softmax over the logits that were sent. For another backbone it is translated (`translation`),
                    in both directions by the server, which knows all tokenizers

Where the public split is smaller than D, its records are repeated. An absent client counts with its last upload.

Reference: FedMKT, Fan et al., COLING 2025, arXiv 2406.02224. What differs from the official code: tokens are aligned by
text spans, not by edit distance. The size of D follows from the steps of a round, so that a client's work on D
(training on it and predicting it: half an SFT step for each local step) is counted: 66 or 67 local steps for 100 of
SFT, not 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from drake.common.seeds import torch_generator
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import ClientRound, Download, Federation, LocalResult, Method, State, Steps, Upload
from drake.models.backbones import Batch

from .averaging import by_backbone, largest_backbone
from .distillation import learn, logits_of, public_batches, public_records
from .distilling_server import Distilling
from .knowledge import packed_predictions, selective_loss, translated, unpacked, where_better
from .sft import ADAPTER, SFT
from .translation import Target, vocabulary_size

PUBLIC_SHARE = 1 / 3  # public records of a round for each of a client's own


class FedMKT(Distilling, SFT):
    """See the module's docstring. L trains and answers as in SFT; W is an adapter of the same name at the server."""

    reference = "FedMKT, Fan et al., COLING 2025, arXiv 2406.02224"
    sends = "losses and largest logits on public records"
    needs_public = True
    distilled = ADAPTER
    relative_cost = 1 + PUBLIC_SHARE * 1.5  # of a public record: one training step and one forward pass

    @dataclass(frozen=True)
    class Options(Method.Options):
        """logits: how many are sent of every token. tokens: of how many answer tokens, from the first on. weight: of
        the KL; the CE has the weight 1 - `weight`."""

        logits: int = 128
        tokens: int = 32
        weight: float = 0.1

        def __post_init__(self) -> None:
            if not (self.logits >= 1 and self.tokens >= 1 and 0 <= self.weight <= 1):
                given = f"{self.logits}, {self.tokens} and {self.weight}"
                raise DrakeError(f"fedmkt needs logits >= 1, tokens >= 1 and weight in [0, 1], not {given}.")

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._of_server: State = {}  # W; empty before the first aggregation

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.for_inference(now)
        public = public_batches(now.backbone, self._public(), self.training)
        if now.download is not None:
            server, width = now.download.tensors, vocabulary_size(now.backbone)
            loss = selective_loss(where_better(server, now.state["losses"], width), public, self.options.weight)
            learn(now.model, public, loss, self.training, adapter=ADAPTER)
        losses = self.train(now, batches)
        trained = adapters.read(now.model, ADAPTER)
        predictions = self._predictions(now.model, trained, public)
        further = sum(batch.input_ids.numel() for batch in public) * (0.5 if now.download is None else 1.5)
        stats = {"loss": sum(losses) / len(losses), "tokens": further}
        return LocalResult(trained | {"losses": predictions["losses"]}, Upload(predictions), stats)

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        name = largest_backbone(federation)
        work = Learning(name, round, self._of_server, uploads)
        [(self._of_server, predictions)] = federation.compute(self, [work])
        records, options = self._public(), self.options
        downloads: dict[int, Download] = {}
        for held, clients in by_backbone(uploads, federation).items():
            translation = self.server.translation(name, held)
            message = translated(predictions, translation, records, options.tokens, options.logits)
            downloads |= dict.fromkeys(clients, Download(message))
        return dict(sorted(downloads.items()))

    def learned(self, work: Learning) -> list[State]:
        """W after it has learned from the best clients, and what it then predicts."""
        name, seed = work.backbone, self.federation.seed
        model, records, backbone = self.server.model(name), self._public(), self.federation.backbone(name)
        public = public_batches(backbone, records, self.training)
        start = work.start or adapters.fresh(model, ADAPTER, torch_generator(seed, "server", backbone.revision))
        losses = self._predictions(model, start, public)["losses"].tolist()
        teachers = [self._best_client(i, losses[i], work.uploads, name, record) for i, record in enumerate(records)]
        loss = selective_loss(teachers, public, self.options.weight)
        taught = self.server.taught(name, start, public, loss, work.round)
        return [taught, self._predictions(model, taught, public)]

    def for_inference(self, now: ClientRound) -> None:
        adapter = {name: tensor for name, tensor in now.state.items() if name != "losses"}
        super().for_inference(replace(now, state=adapter))

    @property
    def public_size(self) -> int:
        """Records in D."""
        training = self.training
        own = training.local_steps(self.relative_cost) * training.micro_batch * training.accumulation
        return max(1, round(own * PUBLIC_SHARE))

    def sent(self, now: ClientRound) -> State:
        size, options = self.public_size, self.options
        shape = (size, options.tokens, min(options.logits, vocabulary_size(now.backbone)))
        logits, ids = (torch.empty(shape, dtype=dtype, device="meta") for dtype in (torch.float32, torch.int32))
        return {"losses": torch.empty(size, device="meta"), "logits": logits, "ids": ids}

    def server_state(self) -> State:
        return self._of_server

    def restore(self, state: State) -> None:
        self._of_server = state

    def _public(self) -> list[DatasetRow]:
        """D."""
        found = public_records(self.federation, self.public_size, "fedmkt", "fedmkt")
        return [found[i % len(found)] for i in range(self.public_size)]

    def _predictions(self, model: nn.Module, values: State, batches: Sequence[Batch]) -> State:
        """What the model with these values of its adapter predicts on public records, in the form that is sent."""
        logits = logits_of(model, values, batches, ADAPTER)
        return packed_predictions(batches, logits, self.options.tokens, self.options.logits)

    def _best_client(
        self, number: int, own: float, uploads: Mapping[int, Upload], name: str, record: DatasetRow
    ) -> Target | None:
        """What the client with the smallest loss predicts on a record, translated for the server's backbone; None where
        that loss is not below `own`, the server's."""
        losses = {i: uploads[i].tensors["losses"][number].item() for i in sorted(uploads)}
        best = min(losses, key=losses.__getitem__)
        if losses[best] >= own:
            return None
        held = self.federation.clients[best].backbone
        predicted = unpacked(uploads[best].tensors, number, vocabulary_size(self.federation.backbone(held)))
        return self.server.translation(held, name)(predicted, record)


@dataclass(frozen=True)
class Learning:
    """Work of the server: a round's `FedMKT.learned`. start: W; empty before the first aggregation."""

    backbone: str
    round: int
    start: State
    uploads: Mapping[int, Upload]

    weight = 1.0

    def __call__(self, method: Method) -> list[State]:
        return cast(FedMKT, method).learned(self)

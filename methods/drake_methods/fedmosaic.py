"""FedMosaic: Co-LoRA adapters (`colora`) and relevance-guided aggregation (`rela`, `aggregation`).

    A, B         of Co-LoRA layers: frozen, aligned across architectures before the first round (`alignment`)
    client i     trains its local module (P, Q of Co-LoRA layers, A, B of the others) and the gates, beside the frozen
                 global module; sends the local module and its sanitised gradient ema_i
    server       S_ij from the gradients, then a customised global module for every client
    inference    y = W_p x + (1 - g) h_local + g h_global

A and B of conventional layers are useful to clients of the same architecture only, so a client without such peers
does not send them. Before the first download, and for tensors that it does not hold, the global module is a copy of the
local one.

A client answers with its local module, as it was trained, beside the global module that it trained beside (evaluated
`trained`) or the new one (`aggregated`).

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024. What differs from the official code by default
(`fedmosaic.preset=official` where it is no fault): the gate, which looks at the input as there and trains at the rate
of A and B, skips padding and decodes as it reads (`input_gate`); the gradient passes the exact Jacobian of the last
norm; rows that leave a client are chosen at random; probes are counted in optimizer steps and always include the first;
alignment is solved, not fitted. The paper's text has one trained scalar per layer for the gate
(`fedmosaic.gate=scalar`), which trains at the rate of P and Q.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from drake.common.seeds import torch_generator
from drake.federation import adapters
from drake.federation.federation import Client, Federation
from drake.federation.local_training import task_loss
from drake.federation.messages import Download, LocalResult, State, Upload
from drake.federation.method import ClientRound, Method, Steps
from drake.models.backbones import Backbone

from . import colora
from .aggregation import customise, customised
from .colora import GLOBAL, LOCAL
from .frozen import FrozenFactors, anchor_of, frozen_factors
from .input_gate import INPUT_GATES, watch
from .options import Options
from .rela import Probes, gradient_width, kept_rows, sanitise, spread, task_relevance

__all__ = ["FedMosaic", "customise"]

BESIDE = "beside"
"""In a client's state: the part of the global module it trained beside that was a copy of its own."""


class FedMosaic(Method):
    """See the module's docstring."""

    reference = "Co-LoRA, ICLR 2026, arXiv 2506.11024"
    sends = "P, Q of Co-LoRA layers; A, B of other layers (with peers); sanitised gradient"
    presets: ClassVar = {"official": {"norm_jacobian": "diagonal", "sampling": "prefix"}}
    relative_cost = 1.14  # two adapters in every layer and the probes; the official 94 steps for 100 count less

    Options = Options

    def wants_public(self, backbones: int) -> bool:
        return self.options.align and self.options.num_blocks > 0 and backbones > 1

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._factors: dict[str, FrozenFactors] = {}
        self.relevance: Tensor | None = None

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        co_layers, gate = colora.co_lora_layers(backbone.num_layers, self.options.num_blocks), self.options.gate
        model = colora.attach(backbone.model, self.training, co_layers, INPUT_GATES.get(gate, colora.MosaicLinear))
        if gate in INPUT_GATES:
            watch(model)
        return model

    def factors(self, backbone: str) -> FrozenFactors:
        """The frozen A and B of a backbone's Co-LoRA layers; computed once per process."""
        if backbone not in self._factors:
            federation, options = self.federation, self.options
            records = federation.public(options.align_records, "alignment") if options.align else None
            self._factors[backbone] = frozen_factors(federation, backbone, options.num_blocks, records)
        return self._factors[backbone]

    def initial_state(self, now: ClientRound) -> State:
        module = adapters.fresh(now.model, LOCAL, now.generator)
        frozen = self.factors(now.client.backbone).tensors
        module |= {name: tensor.to(module[name]) for name, tensor in frozen.items()}
        of_gates = {name: torch.zeros_like(parameter) for name, parameter in colora.gates(now.model).items()}
        return adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", of_gates)

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.for_inference(now)
        model, options, training = now.model, self.options, self.training
        gates_with = None if options.gate == "fixed" else "conventional" if options.gate in INPUT_GATES else "shared"
        conventional, shared = colora.parameter_groups(model, gates_with)
        adapters.train_only(model, shared + conventional)
        optimizer = now.optimizer([(conventional, training.learning_rate), (shared, training.shared_learning_rate)])
        probes = Probes(self._anchor, options.norm_jacobian == "diagonal")
        losses: list[float] = []
        model.train()
        for number, step in enumerate(batches):
            if options.aggregation == "relevance" and number % options.gradient_every == 0:
                probes.take(model, step)
            losses.append(optimizer.step(lambda batch: task_loss(model, batch), step))

        gradient: State = {}
        if options.aggregation == "relevance":
            found = sanitise(probes.mean(), self._kept_rows(), options.sigma, now.generator, options.noise)
            gradient["gradient"] = (now.state["gradient"] + found) / 2 if "gradient" in now.state else found
        module = adapters.read(model, LOCAL)
        kept = adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", colora.read_gates(model))
        return LocalResult(
            state=kept | adapters.prefixed(BESIDE, self._beside(now)) | gradient,
            upload=Upload(self._leaving(now.client, module) | gradient),
            stats={"loss": sum(losses) / len(losses)},
        )

    def sent(self, now: ClientRound) -> State:
        module = self._leaving(now.client, adapters.tensors(now.model, LOCAL))
        if self.options.aggregation == "uniform":
            return module
        shape = len(self._kept_rows()), gradient_width(self._anchor)
        return module | {"gradient": torch.empty(shape, device="meta")}

    def received(self, now: ClientRound) -> State:
        return self._leaving(now.client, adapters.tensors(now.model, GLOBAL))

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        order, options = sorted(uploads), self.options
        relevance = torch.zeros(len(order), len(order))  # equal weights
        if options.aggregation == "relevance":
            relevance = task_relevance([uploads[i].tensors["gradient"].float() for i in order])
            self.relevance = spread(relevance, order, len(federation.clients))
        modules = {i: {k: v for k, v in uploads[i].tensors.items() if k != "gradient"} for i in order}
        downloads = customised(modules, federation, relevance, options.temperature, options.num_blocks)
        return {i: Download(module) for i, module in downloads.items()}

    def observed(self) -> Mapping[str, Tensor]:
        return {"relevance": self.relevance} if self.relevance is not None else {}

    def for_inference(self, now: ClientRound) -> None:
        module = adapters.part(LOCAL, now.state)
        received = dict(now.download.tensors) if now.download else {}
        if now.trained:
            received |= adapters.part(BESIDE, now.state)
        adapters.write(now.model, LOCAL, module)
        adapters.write(now.model, GLOBAL, module | received)
        colora.write_gates(now.model, adapters.part("gate", now.state))
        adapters.activate(now.model, LOCAL, GLOBAL)

    def _beside(self, now: ClientRound) -> State:
        """What the global module of the round had of the client's own module at the start: all that trains and that the
        server did not send."""
        module = adapters.part(LOCAL, now.state)
        received = now.download.tensors if now.download else {}
        return {name: module[name] for name in colora.trained_roles(module) if name not in received}

    @property
    def _anchor(self) -> Backbone:
        return self.federation.backbone(anchor_of(self.federation))

    def _leaving(self, client: Client, module: Mapping[str, Tensor]) -> State:
        """The tensors of a module that are sent to the server and back: A and B only where the client has peers."""
        roles = colora.SHARED_ROLES + (colora.FACTOR_ROLES if len(self.federation.peers(client.id)) > 1 else ())
        return {name: module[name] for name, role in colora.trained_roles(module).items() if role in roles}

    def _kept_rows(self) -> Tensor:
        draw = torch_generator(self.federation.seed, "kept rows") if self.options.sampling == "random" else None
        return kept_rows(self._anchor.hidden_size, self.options.kept, draw)

"""FedMosaic: Co-LoRA (`colora`) personalised by relevance-guided aggregation (`rela`, `aggregation`).

A client trains its local module and the gates; the global module is frozen. It sends P, Q of the Co-LoRA layers, A, B
of the other layers (only to peers of its own architecture, so not at all when it has none), and its sanitised
gradient. The server answers with a customised global module. Before the first answer, and without a peer, the global
module is a copy of the local one. A and B of the Co-LoRA layers are frozen and aligned across architectures
(`alignment`) before the first round.

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

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from drake.common.seeds import torch_generator
from drake.federation import adapters
from drake.federation.federation import Client, Federation
from drake.federation.local_training import task_loss
from drake.federation.messages import Download, LocalResult, State, Upload
from drake.federation.method import ClientRound, Method, Steps
from drake.federation.tensor_names import TensorName
from drake.models.backbones import Backbone

from .aggregation import customise
from .colora import FACTOR_ROLES, GLOBAL, LOCAL, SHARED_ROLES, MosaicLinear, attach, co_lora_layers, gates
from .frozen import FrozenFactors, anchor_of, frozen_factors
from .input_gate import InputGatedLinear, OfficialGatedLinear, watch
from .options import Options
from .rela import Probes, kept_rows, sanitise, task_relevance

__all__ = ["FedMosaic", "customise"]

BESIDE = "beside"
"""In a client's state: the part of the global module it trained beside that was a copy of its own."""


INPUT_GATES = {"input": InputGatedLinear, "official": OfficialGatedLinear}
"""The gates that look at the input, by what the option `gate` calls them."""


class FedMosaic(Method):
    """See the module's docstring."""

    reference = "Co-LoRA, ICLR 2026, arXiv 2506.11024"
    sends = "P, Q of Co-LoRA layers; A, B of other layers (with peers); sanitised gradient"
    presets: ClassVar = {"official": {"norm_jacobian": "diagonal", "sampling": "prefix"}}
    relative_cost = 1.14  # two adapters in every layer and the probes; the official 94 steps for 100 count less

    Options = Options

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._factors: dict[str, FrozenFactors] = {}
        self.relevance: Tensor | None = None

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        co_layers = co_lora_layers(backbone.num_layers, self.options.num_blocks)
        model = attach(backbone.model, self.training, co_layers, INPUT_GATES.get(self.options.gate, MosaicLinear))
        if self.options.gate in INPUT_GATES:
            watch(model)
        return model

    def factors(self, backbone: str) -> FrozenFactors:
        """The frozen A and B of a backbone's Co-LoRA layers; found once per process that asks."""
        if backbone not in self._factors:
            federation, options = self.federation, self.options
            records = federation.public(options.align_records, "alignment") if options.align else None
            self._factors[backbone] = frozen_factors(federation, backbone, options.num_blocks, records)
        return self._factors[backbone]

    def initial_state(self, now: ClientRound) -> State:
        module = adapters.fresh(now.model, LOCAL, now.generator)
        frozen = self.factors(now.client.backbone).tensors
        module |= {name: tensor.to(module[name]) for name, tensor in frozen.items()}
        of_gates = {name: torch.zeros_like(parameter) for name, parameter in gates(now.model).items()}
        return adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", of_gates)

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.for_inference(now)
        model, local, options = now.model, adapters.tensors(now.model, LOCAL), self.options
        trained = _trained(local)
        shared = [local[name] for name, role in trained.items() if role in SHARED_ROLES]
        conventional = [local[name] for name, role in trained.items() if role in FACTOR_ROLES]
        if options.gate != "fixed":  # w of an input gate is no scalar, and trains at the rate of A and B
            (conventional if options.gate in INPUT_GATES else shared).extend(gates(model).values())
        adapters.train_only(model, shared + conventional)
        optimizer = now.optimizer(
            [(conventional, self.training.learning_rate), (shared, self.training.shared_learning_rate)]
        )
        model.train()
        losses, probes = [], Probes(self._anchor, options.norm_jacobian == "diagonal")
        for number, step in enumerate(batches):
            if options.aggregation == "relevance" and number % options.gradient_every == 0:
                probes.take(model, step)
            losses.append(optimizer.step(lambda batch: task_loss(model, batch), step))

        gradient = {}
        if options.aggregation == "relevance":
            found = sanitise(probes.mean(), self._kept_rows(), options.sigma, now.generator, options.noise)
            gradient["gradient"] = (now.state["gradient"] + found) / 2 if "gradient" in now.state else found
        module = adapters.read(model, LOCAL)
        of_gates = {name: parameter.detach().clone() for name, parameter in gates(model).items()}
        kept = adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", of_gates)
        return LocalResult(
            state=kept | adapters.prefixed(BESIDE, self._beside(now)) | gradient,
            upload=Upload(self._leaving(now.client, module) | gradient),
            stats={"loss": sum(losses) / len(losses)},
        )

    def sent(self, now: ClientRound) -> State:
        module = self._leaving(now.client, adapters.tensors(now.model, LOCAL))
        if self.options.aggregation == "uniform":
            return module
        width = self._anchor.model.config.text_config.intermediate_size
        return module | {"gradient": torch.empty(len(self._kept_rows()), width, dtype=torch.float32, device="meta")}

    def received(self, now: ClientRound) -> State:
        return self._leaving(now.client, adapters.tensors(now.model, GLOBAL))

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        order, everyone = sorted(uploads), len(federation.clients)
        relevance = torch.zeros(len(order), len(order))
        if self.options.aggregation == "relevance":
            relevance = task_relevance([uploads[i].tensors["gradient"].float() for i in order])
            # Clients that have sent nothing yet are unlike nobody in particular: NaN in what is kept.
            self.relevance = torch.full((everyone, everyone), torch.nan)
            self.relevance[torch.tensor(order)[:, None], torch.tensor(order)] = relevance.cpu()
        modules = {
            i: {name: tensor for name, tensor in uploads[i].tensors.items() if name != "gradient"} for i in order
        }
        architectures = {i: (federation.architecture(i).name, federation.architecture(i).num_layers) for i in order}
        temperature, blocks = self.options.temperature, self.options.num_blocks
        return {i: Download(customise(i, modules, architectures, relevance, temperature, blocks)) for i in order}

    def observed(self) -> Mapping[str, Tensor]:
        return {"relevance": self.relevance} if self.relevance is not None else {}

    def for_inference(self, now: ClientRound) -> None:
        module = adapters.part(LOCAL, now.state)
        received = dict(now.download.tensors) if now.download else {}
        if now.trained:
            received |= adapters.part(BESIDE, now.state)
        adapters.write(now.model, LOCAL, module)
        adapters.write(now.model, GLOBAL, module | received)
        with torch.no_grad():
            for name, parameter in gates(now.model).items():
                parameter.copy_(now.state[f"gate.{name}"])
        adapters.activate(now.model, LOCAL, GLOBAL)

    def _beside(self, now: ClientRound) -> State:
        """What the global module of the round had of the client's own module at the start: all that trains and that the
        server did not send."""
        module = adapters.part(LOCAL, now.state)
        received = now.download.tensors if now.download else {}
        return {name: module[name] for name in _trained(module) if name not in received}

    @property
    def _anchor(self) -> Backbone:
        return self.federation.backbone(anchor_of(self.federation))

    def _leaving(self, client: Client, module: Mapping[str, Tensor]) -> State:
        """What of a module crosses to the server and back: A and B only where somebody else has the architecture."""
        roles = SHARED_ROLES + (FACTOR_ROLES if len(self.federation.peers(client.id)) > 1 else ())
        return {name: module[name] for name, role in _trained(module).items() if role in roles}

    def _kept_rows(self) -> Tensor:
        draw = torch_generator(self.federation.seed, "kept rows") if self.options.sampling == "random" else None
        return kept_rows(self._anchor.hidden_size, self.options.kept, draw)


def _trained(module: Iterable[str]) -> dict[str, str]:
    """Name -> role of the tensors of a module that train: all but A and B of the Co-LoRA layers, those with a P."""
    names = {name: TensorName.parse(name) for name in module}
    co_lora = {name.place for name in names.values() if name.role == "P"}
    return {key: name.role for key, name in names.items() if name.role in SHARED_ROLES or name.place not in co_lora}

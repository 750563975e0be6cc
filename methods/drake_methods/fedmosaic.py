"""FedMosaic: Co-LoRA (`colora`) personalised by relevance-guided aggregation (`rela`, `aggregation`).

A client trains its local module and the gates; the global module is frozen. It sends P, Q of the Co-LoRA layers, A, B
of the other layers (only to peers of its own architecture, so not at all when it has none), and its sanitised
gradient. The server answers with a customised global module. Before the first answer, and without a peer, the global
module is a copy of the local one. A and B of the Co-LoRA layers are frozen and aligned across architectures
(`alignment`) before the first round.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024. What differs from the official code by default
(`fedmosaic.preset=official` where it is no fault): the gate is one trained
scalar per layer as in the paper; the gradient passes the exact Jacobian of the last norm; rows that leave a client are
chosen at random; probes are counted in optimizer steps and always include the first; alignment is solved, not fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from drake.common.seeds import torch_generator
from drake.federation import adapters
from drake.federation.local_training import LocalOptimizer, task_loss
from drake.federation.method import Client, Download, Federation, LocalResult, Method, State, Step, Upload
from drake.models.backbones import Backbone

from .aggregation import customise as customise
from .colora import GLOBAL, LOCAL, MosaicLinear, attach, co_lora_layers, gates
from .frozen import Factors, frozen_factors
from .input_gate import InputGatedLinear, OfficialGatedLinear, watch
from .options import Options
from .rela import Probes, kept_rows, sanitise, task_relevance


class FedMosaic(Method):
    """See the module's docstring."""

    reference = "Co-LoRA, ICLR 2026, arXiv 2506.11024"
    sends = "P, Q of Co-LoRA layers; A, B of other layers (with peers); sanitised gradient"
    presets: ClassVar = {"official": {"gate": "input", "norm_jacobian": "diagonal", "sampling": "prefix"}}
    relative_cost = 1.14  # two adapters in every layer and the probes; the official 94 steps for 100 count less

    Options = Options

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._factors: dict[str, Factors] = {}
        self._has_peers: dict[nn.Module, bool] = {}
        self.relevance: Tensor | None = None

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        self._has_peers[backbone.model] = len(self.federation.peers(client.id)) > 1
        places = co_lora_layers(backbone.num_layers, self.options.num_blocks)
        kinds = {"input": InputGatedLinear, "official": OfficialGatedLinear}
        model = attach(backbone.model, self.training, places, kinds.get(self.options.gate, MosaicLinear))
        if self.options.gate in kinds:
            watch(model)
        return model

    def factors(self, backbone: str) -> Factors:
        """The frozen A and B of a backbone's Co-LoRA layers; found once per process that asks."""
        if backbone not in self._factors:
            federation, options = self.federation, self.options
            records = federation.public(options.align_records, "alignment") if options.align else None
            self._factors[backbone] = frozen_factors(federation, backbone, options.num_blocks, records)
        return self._factors[backbone]

    def initial_state(self, model: nn.Module, client: Client, rng: torch.Generator) -> State:
        module = adapters.fresh(model, LOCAL, rng)
        frozen = self.factors(client.backbone).tensors
        module |= {name: tensor.to(module[name]) for name, tensor in frozen.items()}
        of_gates = {name: torch.zeros_like(parameter) for name, parameter in gates(model).items()}
        return adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", of_gates)

    def local_update(
        self,
        model: nn.Module,
        state: State,
        download: Download | None,
        batches: Iterable[Step],
        rng: torch.Generator,
    ) -> LocalResult:
        self._write(model, state, download)
        local, options = adapters.tensors(model, LOCAL), self.options
        frozen = _frozen(local)
        shared = [tensor for name, tensor in local.items() if name[-1] in "PQ"]
        shared += list(gates(model).values()) if options.gate != "fixed" else []
        conventional = [tensor for name, tensor in local.items() if name[-1] in "AB" and name not in frozen]
        adapters.train_only(model, shared + conventional)
        optimizer = LocalOptimizer(
            [(conventional, self.training.learning_rate), (shared, self.training.shared_learning_rate)],
            self.training,
        )
        model.train()
        losses, probes = [], Probes(self._anchor, options.norm_jacobian == "diagonal")
        for number, step in enumerate(batches):
            if options.aggregation == "relevance" and number % options.gradient_every == 0:
                probes.take(model, step)
            losses.append(optimizer.step(lambda batch: task_loss(model, batch), step))

        gradient = {}
        if options.aggregation == "relevance":
            found = sanitise(probes.mean(), self._kept_rows(), options.sigma, rng, options.noise)
            gradient["gradient"] = (state["gradient"] + found) / 2 if "gradient" in state else found
        module = adapters.read(model, LOCAL)
        of_gates = {name: parameter.detach().clone() for name, parameter in gates(model).items()}
        return LocalResult(
            state=adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", of_gates) | gradient,
            upload=Upload(self._leaving(model, module) | gradient),
            stats={"loss": sum(losses) / len(losses)},
        )

    def sent(self, model: nn.Module, client: Client) -> State:
        module = self._leaving(model, adapters.tensors(model, LOCAL))
        if self.options.aggregation == "uniform":
            return module
        width = self._anchor.model.config.text_config.intermediate_size
        return module | {"gradient": torch.empty(len(self._kept_rows()), width, dtype=torch.float32, device="meta")}

    def received(self, model: nn.Module, client: Client) -> State:
        return self._leaving(model, adapters.tensors(model, GLOBAL))

    def mix(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
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

    def for_inference(self, model: nn.Module, state: State, download: Download | None) -> None:
        self._write(model, state, download)

    def _write(self, model: nn.Module, state: State, download: Download | None) -> None:
        module = adapters.part(LOCAL, state)
        adapters.write(model, LOCAL, module)
        adapters.write(model, GLOBAL, module if download is None else module | dict(download.tensors))
        with torch.no_grad():
            for name, parameter in gates(model).items():
                parameter.copy_(state[f"gate.{name}"])
        adapters.activate(model, LOCAL, GLOBAL)

    @property
    def _anchor(self) -> Backbone:
        return self.federation.backbone(self.federation.anchor)

    def _leaving(self, model: nn.Module, module: Mapping[str, Tensor]) -> State:
        """What of a module crosses to the server and back."""
        letters = "PQAB" if self._has_peers[model] else "PQ"
        frozen = _frozen(module)
        return {name: tensor for name, tensor in module.items() if name[-1] in letters and name not in frozen}

    def _kept_rows(self) -> Tensor:
        draw = torch_generator(self.federation.seed, "kept rows") if self.options.sampling == "random" else None
        return kept_rows(self._anchor.hidden_size, self.options.kept, draw)


def _frozen(module: Iterable[str]) -> set[str]:
    """The names of A and B of the Co-LoRA layers."""
    return {name[:-1] + letter for name in module if name.endswith(".P") for letter in "AB"}

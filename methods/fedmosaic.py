"""FedMosaic: Co-LoRA (`colora`) personalised by relevance-guided aggregation (`rela`).

A client trains its local module and the gates; the global module is frozen. It sends P, Q of the Co-LoRA layers, A, B
of the other layers (only to peers of its own architecture, so not at all when it has none), and its sanitised
gradient. The server answers with a customised global module:

    P_i^G = sum_j w_ij P_j, Q_i^G likewise, over ALL j != i, block b of i with block b of j; A, B stay i's own
    A_i^G, B_i^G of conventional layers: over the j with i's architecture, w renormalised over them

Before the first answer, and without a peer, the global module is a copy of the local one.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024. What differs from the official code: the gate is one trained scalar per
layer as in the paper; the gradient passes the exact Jacobian of the last norm; probes are counted in optimizer steps
and always include the first. Not yet here: the alignment of A and B across architectures, which start random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drake.backbones import Backbone
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.client import LocalOptimizer, task_loss
from drake.federation.method import Client, Download, Federation, LocalResult, Method, State, Step, Upload
from drake.seeds import torch_generator

from .colora import GLOBAL, LOCAL, attach, co_lora_layers, gates, orthonormal
from .rela import kept_rows, last_layer_gradient, sanitise, task_relevance


def customise(
    client: int,
    uploads: Mapping[int, Mapping[str, Tensor]],
    architectures: Mapping[int, tuple[str, int]],
    relevance: Tensor,
    temperature: float = 0.5,
    num_blocks: int = 4,
) -> dict[str, Tensor]:
    """The global module of `client`, under the names of its own upload.

    uploads: {client: {"<layer>.<projection>.<A|B|P|Q>": Tensor}}; architectures: {client: (name, number of layers)};
    relevance [N, N] with rows and columns in ascending order of the uploads' client numbers.
    """
    order = sorted(uploads)
    blocks = {j: co_lora_layers(architectures[j][1], num_blocks) for j in order}
    others = [j for j in order if j != client]
    peers = [j for j in others if architectures[j][0] == architectures[client][0]]

    def mixed(sources: dict[int, str], own: Tensor) -> Tensor:
        if not sources:
            return own.clone()
        scores = relevance[order.index(client), [order.index(j) for j in sources]]
        weights = torch.softmax(scores / temperature, dim=0)  # over the sources: no weight is divided by a tiny sum
        return sum(w.to(own) * uploads[j][name].to(own) for w, (j, name) in zip(weights, sources.items(), strict=True))

    module = {}
    for name, own in uploads[client].items():
        layer, projection, letter = int(name.split(".", 1)[0]), *name.split(".", 1)[1].rsplit(".", 1)
        if layer not in blocks[client]:
            module[name] = mixed(dict.fromkeys(peers, name), own)
        elif letter in "PQ":
            block = blocks[client].index(layer)
            module[name] = mixed({j: f"{blocks[j][block]}.{projection}.{letter}" for j in others}, own)
        else:
            module[name] = own.clone()
    return module


class FedMosaic(Method):
    """See the module's docstring."""

    reference = "Co-LoRA, ICLR 2026, arXiv 2506.11024"
    sends = "P, Q of Co-LoRA layers; A, B of other layers (with peers); sanitised gradient"
    relative_cost = 100 / 94  # the official budget: 94 steps where SFT takes 100

    @dataclass(frozen=True)
    class Options:
        """num_blocks: N_B. temperature: tau of the mixing weights. gradient_every: optimizer steps between probes.
        kept: share of the gradient's rows that leaves a client. sigma: standard deviation of the noise on them."""

        num_blocks: int = 4
        temperature: float = 0.5
        gradient_every: int = 10
        kept: float = 0.4
        sigma: float = 1e-4

        def __post_init__(self) -> None:
            if not (self.temperature > 0 and self.gradient_every >= 1 and 0 < self.kept <= 1 and self.sigma >= 0):
                raise DrakeError(
                    "fedmosaic needs temperature > 0, gradient_every >= 1, kept in (0, 1] and sigma >= 0, not "
                    f"{self.temperature}, {self.gradient_every}, {self.kept} and {self.sigma}."
                )

    def join(self, federation: Federation) -> None:
        super().join(federation)
        self._has_peers: dict[nn.Module, bool] = {}
        self.relevance: Tensor | None = None

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        self._has_peers[backbone.model] = len(self.federation.peers(client.id)) > 1
        places = co_lora_layers(backbone.num_layers, self.options.num_blocks)
        return attach(backbone.model, self.training, places)

    def initial_state(self, model: nn.Module, client: Client, rng: torch.Generator) -> State:
        # One architecture shares its frozen A and B, or P would mean something else at every client.
        shared = torch_generator(self.federation.seed, "co-lora", self.federation.backbone(client.backbone).revision)
        module = adapters.fresh(model, LOCAL, rng)
        for name in [name for name in module if name.endswith(".P")]:
            a, b = (name.removesuffix("P") + letter for letter in "AB")
            module[a] = orthonormal(*module[a].shape, shared).to(module[a])
            module[b] = orthonormal(*module[b].T.shape, shared).T.to(module[b])
        betas = {place: torch.zeros_like(beta) for place, beta in gates(model).items()}
        return adapters.prefixed(LOCAL, module) | adapters.prefixed("gate", betas)

    def local_update(
        self,
        model: nn.Module,
        state: State,
        download: Download | None,
        batches: Iterable[Step],
        rng: torch.Generator,
    ) -> LocalResult:
        self._write(model, state, download)
        local, betas = adapters.tensors(model, LOCAL), gates(model)
        frozen = _frozen(local)
        shared = [tensor for name, tensor in local.items() if name[-1] in "PQ"] + list(betas.values())
        conventional = [tensor for name, tensor in local.items() if name[-1] in "AB" and name not in frozen]
        adapters.train_only(model, shared + conventional)
        optimizer = LocalOptimizer(
            [(conventional, self.training.learning_rate), (shared, self.training.shared_learning_rate)],
            self.training,
        )
        model.train()
        losses, probes = [], []
        for number, micro_batches in enumerate(batches):
            if number % self.options.gradient_every == 0:
                probes.append(self._probe(model, micro_batches))
            losses.append(optimizer.step(lambda batch: task_loss(model, batch), micro_batches))

        gradient = self._sanitised(torch.stack(probes).mean(0), rng)
        if "gradient" in state:
            gradient = (state["gradient"] + gradient) / 2
        module = adapters.read(model, LOCAL)
        kept = adapters.prefixed("gate", {place: beta.detach().clone() for place, beta in betas.items()})
        return LocalResult(
            state=adapters.prefixed(LOCAL, module) | kept | {"gradient": gradient},
            upload=Upload(self._leaving(model, module) | {"gradient": gradient}),
            stats={"loss": sum(losses) / len(losses)},
        )

    def sent(self, model: nn.Module, client: Client) -> State:
        anchor = self.federation.backbone(self.federation.anchor).model
        rows, columns = anchor.model.language_model.layers[-1].mlp.down_proj.weight.shape
        gradient = torch.empty(len(self._kept_rows(rows)), columns, dtype=torch.float32, device="meta")
        return self._leaving(model, adapters.tensors(model, LOCAL)) | {"gradient": gradient}

    def received(self, model: nn.Module, client: Client) -> State:
        return self._leaving(model, adapters.tensors(model, GLOBAL))

    def mix(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        order = sorted(uploads)
        relevance = task_relevance([uploads[i].tensors["gradient"].float() for i in order])
        # Clients that have sent nothing yet are unlike nobody in particular: NaN in what is kept.
        self.relevance = torch.full((len(federation.clients), len(federation.clients)), torch.nan)
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
            for place, beta in gates(model).items():
                beta.copy_(state[f"gate.{place}"])
        adapters.activate(model, LOCAL, GLOBAL)

    def _probe(self, model: nn.Module, micro_batches: Step) -> Tensor:
        """The gradient of the frozen anchor backbone on the records of one step, [d, d_ff]."""
        anchor = self.federation.backbone(self.federation.anchor)
        adapters.activate(anchor.model)
        gradients = []
        for batch in micro_batches:
            seen = batch if anchor.model is model else anchor.batch(batch.records, answers=True)
            gradients.append(last_layer_gradient(anchor.model, seen))
        adapters.activate(anchor.model, LOCAL, GLOBAL)
        return torch.stack(gradients).mean(0)

    def _leaving(self, model: nn.Module, module: Mapping[str, Tensor]) -> State:
        """What of a module crosses to the server and back."""
        letters = "PQAB" if self._has_peers[model] else "PQ"
        frozen = _frozen(module)
        return {name: tensor for name, tensor in module.items() if name[-1] in letters and name not in frozen}

    def _kept_rows(self, rows: int) -> Tensor:
        return kept_rows(rows, self.options.kept, torch_generator(self.federation.seed, "kept rows"))

    def _sanitised(self, gradient: Tensor, rng: torch.Generator) -> Tensor:
        return sanitise(gradient, self._kept_rows(len(gradient)), self.options.sigma, rng)


def _frozen(module: Iterable[str]) -> set[str]:
    """The names of A and B of the Co-LoRA layers."""
    return {name[:-1] + letter for name in module if name.endswith(".P") for letter in "AB"}

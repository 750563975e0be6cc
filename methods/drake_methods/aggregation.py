"""Relevance-guided aggregation, the server's part of FedMosaic: a customised global module for every client.

    Co-LoRA layers           P_i^G = sum over all j != i of w_ij P_j, block by block; Q_i^G likewise; A, B stay i's own
    conventional layers      A_i^G = sum of w_ij A_j over the j != i with i's architecture; B_i^G likewise

with w_ij = softmax over those j of S_ij / tau (`rela`). A client without such j keeps its own tensors.

Reference: Co-LoRA, ICLR 2026, arXiv 2506.11024, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from drake.federation.federation import Federation
from drake.federation.messages import State
from drake.federation.tensor_names import TensorName

from .colora import SHARED_ROLES, co_lora_layers
from .rela import mixing_weights, weights_over


def customised(
    modules: Mapping[int, Mapping[str, Tensor]],
    federation: Federation,
    relevance: Tensor,
    temperature: float,
    num_blocks: int,
) -> dict[int, State]:
    """The global module of every client in `modules`, the local modules that the clients sent; see `customise_all`."""
    architectures = {
        i: (federation.architecture(i).name, federation.architecture(i).num_layers) for i in sorted(modules)
    }
    return customise_all(modules, architectures, relevance, temperature, num_blocks)


def customise(
    client: int,
    uploads: Mapping[int, Mapping[str, Tensor]],
    architectures: Mapping[int, tuple[str, int]],
    relevance: Tensor,
    temperature: float = 0.5,
    num_blocks: int = 4,
) -> State:
    """The global module of one client; see `customise_all`."""
    return customise_all(uploads, architectures, relevance, temperature, num_blocks)[client]


def customise_all(
    uploads: Mapping[int, Mapping[str, Tensor]],
    architectures: Mapping[int, tuple[str, int]],
    relevance: Tensor,
    temperature: float = 0.5,
    num_blocks: int = 4,
) -> dict[int, State]:
    """The global module of every client, under the names of its own upload.

    uploads: {client: {"<layer>.<projection>.<A|B|P|Q>": Tensor}}; architectures: {client: (name, number of layers)};
    relevance [N, N] with rows and columns in ascending order of the uploads' client numbers.
    """
    order = sorted(uploads)
    row = {client: place for place, client in enumerate(order)}
    layers = {name: co_lora_layers(depth, num_blocks) for name, depth in set(architectures.values())}
    found: dict[int, State] = {client: {} for client in order}

    def mix(names: Mapping[int, str], mean: Mean) -> None:
        """The weighted means of one tensor. names: client -> the tensor's name in its upload."""
        stacked = torch.stack([uploads[client][name] for client, name in names.items()])
        rows = [row[client] for client in names]
        means = mean(relevance[rows][:, rows].to(stacked), stacked, temperature) if len(names) > 1 else stacked
        for (client, name), value in zip(names.items(), means, strict=True):
            found[client][name] = value.clone()

    for name in layers:
        peers = [client for client in order if architectures[client][0] == name]
        for key in uploads[peers[0]]:
            tensor = TensorName.parse(key)
            if tensor.layer not in layers[name]:
                mix(dict.fromkeys(peers, key), means_at_once)
            elif tensor.role not in SHARED_ROLES:
                found |= {client: found[client] | {key: uploads[client][key].clone()} for client in peers}
    first = layers[architectures[order[0]][0]]
    for key in uploads[order[0]]:
        tensor = TensorName.parse(key)
        if tensor.layer in first and tensor.role in SHARED_ROLES:
            block = first.index(tensor.layer)
            mix({i: str(tensor._replace(layer=layers[architectures[i][0]][block])) for i in order}, means_in_turn)
    return {client: {key: found[client][key] for key in uploads[client]} for client in order}


Mean = Callable[[Tensor, Tensor, float], Tensor]
"""(relevance [n, n], one tensor of n clients [n, ...], temperature) -> for each client the weighted mean of the others
[n, ...]."""


def means_at_once(relevance: Tensor, stacked: Tensor, temperature: float) -> Tensor:
    """A `Mean` as one product with the matrix of weights: for A and B, which are large."""
    return (mixing_weights(relevance, temperature) @ stacked.flatten(1)).view_as(stacked)


def means_in_turn(relevance: Tensor, stacked: Tensor, temperature: float) -> Tensor:
    """A `Mean`, client by client: for P and Q, which are small. One product for all would sum in another order from
    nine clients on, and stored runs would not repeat bit for bit."""
    others = ~torch.eye(len(stacked), dtype=torch.bool, device=stacked.device)
    return torch.stack(
        [
            torch.tensordot(weights_over(relevance[i, others[i]], temperature), stacked[others[i]], dims=1)
            for i in range(len(stacked))
        ]
    )

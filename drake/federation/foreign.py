"""`--adapters DIR`: LoRA adapters that were trained elsewhere, scored as a federation. Nothing is trained or sent.

    DIR/client-0 ... DIR/client-9     a folder for each client, as PEFT's save_pretrained writes it
    DIR/adapters.toml                 or the folders in the order of the clients; one may serve several:
                                      clients = ["alice", "bob", "bob"]

The adapters of one backbone may have different ranks and layers: they are filled up with zeros to one shape, which
changes nothing of their function. A bias is one more column of `up`, with a row of zeros in `down` and a shift of 1.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch
from torch import Tensor, nn

from drake import catalog
from drake.common.files import read_toml_table
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.federation import Client, Federation
from drake.federation.messages import LocalResult, State
from drake.federation.method import ClientRound, Method, Steps
from drake.federation.peft_folders import LinearShape, PeftFolder, read_folder
from drake.models.backbones import Backbone

ADAPTER = "foreign"
ORDER = "adapters.toml"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class ForeignLinear(adapters.AdaptedLinear):
    """An adapter whose last column is the bias, where `biased` is set."""

    biased = False

    def factors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        down, up, _ = super().factors()
        if not self.biased:
            return down, up, None
        shift = down.new_zeros(len(down))
        shift[-1] = 1
        return down, up, shift


class ForeignAdapters(Method):
    """See the module's docstring."""

    reference = "adapters that were trained elsewhere"
    sends = "nothing"
    trains = False

    @dataclass(frozen=True)
    class Options(Method.Options):
        """folder: the folder with the clients' adapters. any_base: warn where an adapter names another backbone than
        the client's, instead of refusing it."""

        folder: str = ""
        any_base: bool = False

    def inputs(self, clients: Sequence[Client]) -> Mapping[str, Any]:
        """{"adapters": the SHA-256 of every client's adapter}. DrakeError for a client without one, and for one that
        cannot be read."""
        found = self._folders(len(clients))
        for client in clients:
            self._check_base(found[client.id], client)
        return {"adapters": [folder.digest for folder in found]}

    def prepare(self, federation: Federation) -> None:
        """DrakeError for an adapter that does not fit its client's backbone."""
        for client in federation.clients:
            shapes = _linear_layers(federation.backbone(client.backbone).model)
            self._of_clients[client.id].check_fits(shapes, client.backbone)

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        mine = [self._of_clients[peer] for peer in self.federation.peers(client.id)]
        biased = any(folder.has_bias for folder in mine)
        rank = max(folder.rank for folder in mine) + biased
        form = replace(self.training, rank=rank, alpha=rank, dropout=0.0)
        adapters.add(backbone.model, [ADAPTER], form, ForeignLinear)
        for layer in adapters.layers(backbone.model).values():
            cast("ForeignLinear", layer).biased = biased
        return backbone.model

    def initial_state(self, now: ClientRound) -> State:
        found = self._of_clients[now.client.id].factors()
        state: State = {}
        for name, like in adapters.tensors(now.model, ADAPTER).items():
            place, _, role = name.rpartition(".")
            values = torch.zeros(like.shape)
            if place in found:
                down, up, bias = found[place]
                if role == "A":
                    values[: len(down)] = down
                else:
                    values[:, : up.shape[1]] = up
                    if bias is not None:
                        values[:, -1] = bias
            state[name] = values.to(like.device, like.dtype)
        return state

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        raise DrakeError("adapters that were trained elsewhere are scored, not trained; leave this command out.")

    def for_inference(self, now: ClientRound) -> None:
        adapters.write(now.model, ADAPTER, now.state)
        adapters.activate(now.model, ADAPTER)

    @cached_property
    def _of_clients(self) -> list[PeftFolder]:
        return self._folders(len(self.federation.clients))

    def _folders(self, clients: int) -> list[PeftFolder]:
        """The adapter of every client."""
        if not self.options.folder:
            raise DrakeError("the method adapters needs the folder of the adapters; name it with --adapters.")
        paths = client_folders(Path(self.options.folder), clients)
        read = {path: read_folder(path) for path in dict.fromkeys(paths)}
        for folder in read.values():
            _ = folder.layers  # refuses what cannot be read before a backbone is loaded
        return [read[path] for path in paths]

    def _check_base(self, folder: PeftFolder, client: Client) -> None:
        """DrakeError, or a warning, for an adapter of another backbone than the client's, as far as names tell."""
        if folder.base is None:
            warnings.warn(
                f"{folder.path} does not say which backbone it belongs to; it is scored on {client.backbone}.",
                stacklevel=2,
            )
        elif not _same_base(folder.base, client.backbone):
            sentence = f"{folder.path} belongs to the backbone {folder.base[:200]!r}, client {client.id} has "
            if not self.options.any_base:
                raise DrakeError(
                    f"{sentence}{client.backbone}; name the right --models, or add --set adapters.any_base=true."
                )
            warnings.warn(f"{sentence}{client.backbone}.", stacklevel=2)


def client_folders(root: Path, clients: int) -> list[Path]:
    """The folder of each client, as `adapters.toml` or their names say. DrakeError where they are not so many."""
    if not root.is_dir():
        raise DrakeError(f"{root} is no folder; name the one that holds the clients' adapters.")
    order = root / ORDER
    if order.exists():
        names = read_toml_table(order).get("clients")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DrakeError(f'{order} needs the folders in the order of the clients: clients = ["alice", "bob"].')
        if len(names) != clients:
            raise DrakeError(f"{order} names {len(names)} folders for {clients} clients; name one for each.")
        for name in names:
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or Path(name).is_absolute() or "\\" in name or "\0" in name:
                raise DrakeError(f"{order} names {name!r}; name folders below {root}.")
        return [root / name for name in names]
    found = [root / f"client-{number}" for number in range(clients)]
    if missing := [path.name for path in found if not path.is_dir()]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DrakeError(
            f"{root} has no folder {missing[0]}{more} for the {clients} clients; add them, or name the folders in "
            f"{ORDER}."
        )
    if (root / f"client-{clients}").exists():
        raise DrakeError(f"{root} has a folder client-{clients}, but the clients are 0 to {clients - 1}; remove it.")
    return found


def _same_base(base: str, backbone: str) -> bool:
    """Whether an adapter's backbone may be the client's: the same repository, or a folder whose name is that of the
    repository, the folder or the backbone."""
    known = catalog.models().get(backbone)
    names = {backbone} if known is None else {backbone, known.hub_id or backbone}
    if base in names:
        return True
    if _HUB_ID.fullmatch(base) and any(_HUB_ID.fullmatch(name) for name in names):
        return False
    return Path(base).name in {Path(name).name for name in names}


def _linear_layers(model: nn.Module) -> dict[str, LinearShape]:
    """The layers that adapters may be put on, by place, whether or not they are there already."""
    found = {}
    for name, module in model.named_modules():
        base = getattr(module, "base_layer", module)
        if isinstance(base, nn.Linear) and re.fullmatch(adapters.TARGETS, name):
            found[name.partition(".layers.")[2]] = LinearShape(base.in_features, base.out_features)
    return found

"""The state of a run after a round, in one safetensors file that is either whole or absent.

A file holds every client's state, its last download and its last upload; the header holds the round, the ledger, the
losses and the order of the tensors' names (safetensors does not keep it, and a method's draws may depend on it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from drake.errors import DrakeError
from drake.federation.ledger import Traffic
from drake.federation.method import Download, Message, State, Upload
from drake.files import replacing


@dataclass
class Progress:
    """All that a run carries from one round to the next; nothing lives anywhere else.

    rounds_done: finished rounds. states, downloads, uploads: by client number. losses[round][client].
    """

    states: dict[int, State] = field(default_factory=dict)
    downloads: dict[int, Download] = field(default_factory=dict)
    uploads: dict[int, Upload] = field(default_factory=dict)
    rounds_done: int = 0
    ledger: list[Traffic] = field(default_factory=list)
    losses: list[dict[int, float]] = field(default_factory=list)
    seconds_train: float = 0.0
    seconds_eval: float = 0.0


def save_progress(path: Path, progress: Progress) -> None:
    """Store `progress` at `path`, replacing what was there."""
    groups = {
        "state": progress.states,
        "download": {i: dict(message.tensors) for i, message in progress.downloads.items()},
        "upload": {i: dict(message.tensors) for i, message in progress.uploads.items()},
    }
    tensors: dict[str, Tensor] = {}
    order: dict[str, dict[int, list[str]]] = {}
    for group, clients in groups.items():
        order[group] = {i: list(named) for i, named in clients.items()}
        for i, named in clients.items():
            tensors |= {f"{group}/{i}/{name}": tensor.contiguous() for name, tensor in named.items()}
    header = {
        "order": order,
        "numbers": {
            "download": {i: dict(message.numbers) for i, message in progress.downloads.items()},
            "upload": {i: dict(message.numbers) for i, message in progress.uploads.items()},
        },
        "rounds_done": progress.rounds_done,
        "ledger": progress.ledger,
        "losses": progress.losses,
        "seconds_train": progress.seconds_train,
        "seconds_eval": progress.seconds_eval,
    }
    # Clients may share a tensor (a mean); safetensors stores each name on its own, which costs bytes, not truth.
    data = save({name: tensor.clone() for name, tensor in tensors.items()}, {"run": json.dumps(header)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_progress(path: Path, device: str = "cpu") -> Progress:
    """What `save_progress` stored; DrakeError if the file is not one of ours."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = json.loads((file.metadata() or {})["run"])

            def group(name: str) -> dict[int, dict[str, Tensor]]:
                return {
                    int(i): {key: file.get_tensor(f"{name}/{i}/{key}") for key in keys}
                    for i, keys in header["order"][name].items()
                }

            states, downloads, uploads = group("state"), group("download"), group("upload")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DrakeError(f"{path} is not a checkpoint of a run ({error}); start the run anew.") from error

    def messages(kind: type[Message], name: str, tensors: Mapping[int, dict[str, Tensor]]) -> dict:
        return {i: kind(named, header["numbers"][name][str(i)]) for i, named in tensors.items()}

    return Progress(
        states=states,
        downloads=messages(Download, "download", downloads),
        uploads=messages(Upload, "upload", uploads),
        rounds_done=header["rounds_done"],
        ledger=[Traffic(*row) for row in header["ledger"]],
        losses=[{int(i): loss for i, loss in row.items()} for row in header["losses"]],
        seconds_train=header["seconds_train"],
        seconds_eval=header["seconds_eval"],
    )

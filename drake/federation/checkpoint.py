"""The state of a run, in safetensors files that are each whole or absent.

    FOLDER/round-00003/client-7.safetensors    what client 7's local training of the round left behind
    FOLDER/round-00003/server.safetensors      the server's own state, the downloads, and with them: the round is over

A run killed at any moment goes on from the last server file, and in the round that it broke off from the clients that
are there. Every tensor is written once: a client's file stays until its next one. The header of a file keeps the order
of the names (safetensors does not, and a method's draws may depend on it).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from drake.common.files import replacing
from drake.errors import DrakeError
from drake.federation.communication import Traffic, traffic
from drake.federation.method import Download, LocalResult, State, Upload


@dataclass
class Progress:
    """All that a run carries from one round to the next; nothing lives anywhere else.

    rounds_done: finished rounds. states, downloads, uploads: by client number. waiting: what the server holds ready for
    clients that are out. server: what `Method.server_state` returned. losses[round][client]. By backbone, tokens: how
    many its clients have trained on, padding included; per_token: floating point operations that one of them cost.
    """

    states: dict[int, State] = field(default_factory=dict)
    downloads: dict[int, Download] = field(default_factory=dict)
    uploads: dict[int, Upload] = field(default_factory=dict)
    waiting: dict[int, Download] = field(default_factory=dict)
    server: State = field(default_factory=dict)
    rounds_done: int = 0
    ledger: list[Traffic] = field(default_factory=list)
    losses: list[dict[int, float]] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    per_token: dict[str, float] = field(default_factory=dict)
    seconds_train: float = 0.0
    seconds_mix: float = 0.0
    seconds_eval: float = 0.0

    def receive(self, round: int, client: int, download: Download) -> None:
        """The client gets what the server has for it."""
        self.downloads[client] = download
        self.ledger += traffic(round, client, "down", download)

    def spent(self, backbone: str, stats: Mapping[str, float]) -> None:
        """Add the work of a client's round, as its `Job` measured it."""
        if tokens := stats.get("tokens"):
            self.tokens[backbone] = self.tokens.get(backbone, 0) + tokens
            if "operations" in stats:
                self.per_token[backbone] = stats["operations"] / tokens

    def operations(self) -> float | None:
        """Floating point operations of all local training so far; None while those of a backbone are not known."""
        if not self.tokens or self.tokens.keys() - self.per_token.keys():
            return None
        return sum(tokens * self.per_token[name] for name, tokens in self.tokens.items())


class Checkpoints:
    """Where one seed's state is kept. Errors are DrakeErrors that name the file."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self._device = folder, device

    def keep_client(self, round: int, client: int, result: LocalResult, last: Upload | None, seconds: float) -> None:
        """Store what `local_update` returned in `round` (from 0). last: the client's most recent upload, this round's
        or an earlier one's. seconds: how long the round has lasted so far."""
        groups = {"state": result.state, "upload": last.tensors if last else {}}
        about = {
            "stats": result.stats,
            "seconds": seconds,
            "sent": result.upload is not None,
            "numbers": dict(last.numbers) if last else None,
        }
        _write(self._client(round, client), groups, about)

    def clients(self, round: int) -> tuple[dict[int, LocalResult], float]:
        """The stored results of a round that was broken off, and how long it had lasted."""
        results, seconds = {}, 0.0
        for path in self._round(round).glob("client-*.safetensors"):
            state, last, about = self._read_client(path)
            results[_number(path)] = LocalResult(state, last if about["sent"] else None, about["stats"])
            seconds = max(seconds, about["seconds"])
        return results, seconds

    def keep_round(self, progress: Progress) -> None:
        """Store that `progress.rounds_done` rounds are over; every client of the last one must be stored already."""
        about = {
            "numbers": {i: dict(message.numbers) for i, message in progress.downloads.items()},
            "waiting": {i: dict(message.numbers) for i, message in progress.waiting.items()},
            "rounds_done": progress.rounds_done,
            "ledger": progress.ledger,
            "losses": progress.losses,
            "tokens": progress.tokens,
            "per_token": progress.per_token,
            "seconds_train": progress.seconds_train,
            "seconds_mix": progress.seconds_mix,
            "seconds_eval": progress.seconds_eval,
        }
        groups = {f"{i}": message.tensors for i, message in progress.downloads.items()}
        groups |= {f"{i} waits": message.tensors for i, message in progress.waiting.items()}
        groups["server"] = progress.server
        current = self._round(progress.rounds_done - 1)
        _write(current / "server.safetensors", groups, about)
        newer = {path.name for path in current.iterdir()}
        for path in sorted(self._rounds(), reverse=True):
            if path < current:
                for file in path.iterdir():
                    if file.name in newer or not file.name.endswith(".safetensors"):
                        file.unlink()
                newer |= {file.name for file in path.iterdir()}
                if not any(path.iterdir()):
                    path.rmdir()

    def load(self) -> Progress:
        """What the last finished round left; a Progress of no rounds if none is stored."""
        over = self._last_round()
        if over is None:
            return Progress()
        groups, about = _read(over / "server.safetensors", self._device)
        if "tokens" not in about:
            raise DrakeError(f"{over} was begun by an earlier version of drake; use --overwrite always.")
        progress = Progress(
            downloads={int(i): Download(groups[i], numbers) for i, numbers in about["numbers"].items()},
            waiting={int(i): Download(groups[f"{i} waits"], numbers) for i, numbers in about["waiting"].items()},
            server=groups.get("server", {}),
            rounds_done=about["rounds_done"],
            ledger=[Traffic(*row) for row in about["ledger"]],
            losses=[{int(i): loss for i, loss in row.items()} for row in about["losses"]],
            tokens=about["tokens"],
            per_token=about["per_token"],
            seconds_train=about["seconds_train"],
            seconds_mix=about["seconds_mix"],
            seconds_eval=about["seconds_eval"],
        )
        for client, file in sorted(self._latest(over).items()):
            state, last, _ = self._read_client(file)
            progress.states[client] = state
            if last is not None:
                progress.uploads[client] = last
        return progress

    def of_client(self, client: int) -> tuple[State, Download | None] | None:
        """What `load` has of one client, without reading the others': its state and its download. None if no round is
        over, or if it has trained in none that is."""
        over = self._last_round()
        file = None if over is None else self._latest(over).get(client)
        if file is None:
            return None
        groups, about = _read(over / "server.safetensors", self._device, {f"{client}"})
        numbers = about["numbers"].get(f"{client}")
        download = None if numbers is None else Download(groups[f"{client}"], numbers)
        return _read(file, self._device, {"state"})[0]["state"], download

    def remove(self) -> None:
        """Everything stored goes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _rounds(self) -> list[Path]:
        return sorted(self.folder.glob("round-*"))

    def _last_round(self) -> Path | None:
        """The folder of the last round that is over."""
        over = [path for path in self._rounds() if (path / "server.safetensors").exists()]
        return over[-1] if over else None

    def _latest(self, over: Path) -> dict[int, Path]:
        """Every client's last file up to that round."""
        return {
            _number(file): file for path in self._rounds() if path <= over for file in path.glob("client-*.safetensors")
        }

    def _round(self, round: int) -> Path:
        return self.folder / f"round-{round + 1:05}"

    def _client(self, round: int, client: int) -> Path:
        return self._round(round) / f"client-{client}.safetensors"

    def _read_client(self, path: Path) -> tuple[State, Upload | None, dict[str, Any]]:
        groups, about = _read(path, self._device)
        last = None if about["numbers"] is None else Upload(groups["upload"], about["numbers"])
        return groups["state"], last, about


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("client-"))


def _write(path: Path, groups: Mapping[str, Mapping[str, Tensor]], about: dict[str, Any]) -> None:
    """One file of named groups of tensors; what two names share is stored once."""
    stored: dict[str, Tensor] = {}
    keys: dict[tuple, str] = {}
    names: dict[str, dict[str, str]] = {}
    for group, tensors in groups.items():
        names[group] = {}
        for name, tensor in tensors.items():
            identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            key = keys.get(identity) if tensor.numel() else None
            if key is None:
                key = keys[identity] = str(len(stored))
                alone = tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.is_contiguous()
                stored[key] = tensor.detach() if alone else tensor.detach().clone().contiguous()
            names[group][name] = key
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, {"run": json.dumps({"names": names, "about": about})})
        except SafetensorError as error:  # its own name for what the system refuses
            raise OSError(str(error)) from error


def _read(path: Path, device: str, wanted: Container[str] | None = None) -> tuple[dict[str, State], dict[str, Any]]:
    """The groups of a file, or only those wanted, and what was noted about them."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = json.loads((file.metadata() or {})["run"])
            names = {group: named for group, named in header["names"].items() if wanted is None or group in wanted}
            stored = {key: file.get_tensor(key) for key in {key for named in names.values() for key in named.values()}}
            groups = {group: {name: stored[key] for name, key in named.items()} for group, named in names.items()}
            return groups, header["about"]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DrakeError(f"{path} is not a checkpoint of a run ({error}); use --overwrite always.") from error

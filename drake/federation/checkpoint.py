"""The state of a run, in safetensors files that are each whole or absent.

    FOLDER/round-00003/client-7.safetensors    what client 7's local training of the round left behind
    FOLDER/round-00003/server.safetensors      the server's own state, the downloads, and with them: the round is over

A run killed at any moment goes on from the last server file, and in the round that it broke off from the clients that
are there. Every tensor is written once: a client's file stays until its next one. The header of a file keeps the order
of the names (safetensors does not, and a method's draws may depend on it).
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drake.errors import DrakeError
from drake.federation.callbacks import Callback, ClientContext, RoundContext
from drake.federation.communication import MessageTraffic
from drake.federation.messages import Download, LocalResult, State, Upload
from drake.federation.state import Progress
from drake.federation.tensor_groups import MALFORMED, damaged, read_groups, write_groups


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
        write_groups(self._client(round, client), groups, about)

    def clients(self, round: int) -> tuple[dict[int, LocalResult], float]:
        """The stored results of a round that was broken off, and how long it had lasted."""
        results, seconds = {}, 0.0
        for path in self._round(round).glob("client-*.safetensors"):
            state, last, about = self._read_client(path)
            with _well_formed(path):
                results[_number(path)] = LocalResult(state, last if about["sent"] else None, about["stats"])
                seconds = max(seconds, about["seconds"])
        return results, seconds

    def keep_round(self, progress: Progress) -> None:
        """Store that `progress.rounds_done` rounds are over; every client of the last one must be stored already."""
        about = {
            "numbers": {i: dict(message.numbers) for i, message in progress.downloads.items()},
            "waiting": {i: dict(message.numbers) for i, message in progress.waiting.items()},
            "rounds_done": progress.rounds_done,
            "traffic": progress.traffic,
            "losses": progress.losses,
            "tokens": progress.tokens,
            "per_token": progress.per_token,
            "seconds_train": progress.seconds_train,
            "seconds_aggregate": progress.seconds_aggregate,
            "seconds_eval": progress.seconds_eval,
        }
        groups = {f"{i}": message.tensors for i, message in progress.downloads.items()}
        groups |= {f"{i} waits": message.tensors for i, message in progress.waiting.items()}
        groups["server"] = progress.server
        current = self._round(progress.rounds_done - 1)
        write_groups(current / "server.safetensors", groups, about)
        self._drop_superseded(current)

    def _drop_superseded(self, current: Path) -> None:
        """Delete what a later file replaces: of every client the newest file is kept, in whichever round's folder it
        lies, since a client that sits rounds out has none in the current one; of the server only the current file."""
        kept = {path.name for path in current.iterdir()}
        for folder in sorted((path for path in self._rounds() if path < current), reverse=True):
            for file in list(folder.iterdir()):
                if file.name in kept or not file.name.endswith(".safetensors"):
                    file.unlink()
                else:
                    kept.add(file.name)
            if not any(folder.iterdir()):
                folder.rmdir()

    def load(self) -> Progress:
        """What the last finished round left; a Progress of no rounds if none is stored."""
        over = self._last_round()
        if over is None:
            return Progress()
        groups, about = read_groups(over / "server.safetensors", self._device)
        if "traffic" not in about:
            raise DrakeError(f"{over} was begun by an earlier version of drake; use --overwrite always.")
        with _well_formed(over / "server.safetensors"):
            progress = self._progress(groups, about)
        for client, file in sorted(self._latest(over).items()):
            state, last, _ = self._read_client(file)
            progress.states[client] = state
            if last is not None:
                progress.uploads[client] = last
        return progress

    def _progress(self, groups: Mapping[str, State], about: Mapping[str, Any]) -> Progress:
        return Progress(
            downloads={int(i): Download(groups[i], numbers) for i, numbers in about["numbers"].items()},
            waiting={int(i): Download(groups[f"{i} waits"], numbers) for i, numbers in about["waiting"].items()},
            server=groups.get("server", {}),
            rounds_done=about["rounds_done"],
            traffic=[MessageTraffic(*row) for row in about["traffic"]],
            losses=[{int(i): loss for i, loss in row.items()} for row in about["losses"]],
            tokens=about["tokens"],
            per_token=about["per_token"],
            seconds_train=about["seconds_train"],
            seconds_aggregate=about["seconds_aggregate"],
            seconds_eval=about["seconds_eval"],
        )

    def of_client(self, client: int) -> tuple[State, Download | None] | None:
        """What `load` has of one client, without reading the others': its state and its download. None if no round is
        over, or if it has trained in none that is."""
        over = self._last_round()
        file = None if over is None else self._latest(over).get(client)
        if over is None or file is None:
            return None
        groups, about = read_groups(over / "server.safetensors", self._device, {f"{client}"})
        with _well_formed(over / "server.safetensors"):
            numbers = about["numbers"].get(f"{client}")
            download = None if numbers is None else Download(groups[f"{client}"], numbers)
        return self._read_client(file, {"state"})[0], download

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

    def _read_client(
        self, path: Path, wanted: Container[str] | None = None
    ) -> tuple[State, Upload | None, dict[str, Any]]:
        """State, last upload and note in a client's file; the groups `wanted` alone, without the upload."""
        groups, about = read_groups(path, self._device, wanted)
        with _well_formed(path):
            numbers = about["numbers"] if wanted is None else None
            last = None if numbers is None else Upload(groups["upload"], numbers)
            return groups["state"], last, about


@contextmanager
def _well_formed(path: Path) -> Iterator[None]:
    """A block that takes the header of `path` apart: what only another header raises becomes a DrakeError."""
    try:
        yield
    except MALFORMED as error:
        raise damaged(path, error) from error


def _number(path: Path) -> int:
    with _well_formed(path):
        return int(path.stem.removeprefix("client-"))


class CheckpointCallback(Callback):
    """Stores every client as it finishes and every round; a round that was broken off goes on from what is stored."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def round_started(self, round: RoundContext) -> None:
        round.results, round.seconds = self._checkpoints.clients(round.number)

    def client_trained(self, client: ClientContext) -> None:
        last = client.result.upload or client.round.run.progress.uploads.get(client.client.id)
        self._checkpoints.keep_client(client.round.number, client.client.id, client.result, last, client.round.seconds)

    def round_finished(self, round: RoundContext) -> None:
        self._checkpoints.keep_round(round.run.progress)

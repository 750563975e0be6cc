"""Encoded pictures: in memory, and in a folder for the next run, another seed, another process. Backbones call this.

Features stand under the SHA-256 of the picture's bytes; one file of the folder holds what one pass of the encoder gave.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from drake.common.files import check_folder, replacing
from drake.errors import DrakeError

MEMORY_BYTES = 2 << 30
DIGEST = 32 * "[0-9a-f]"
"""A glob for the names of the folders and files made here."""


class FeatureCache:
    """Features [tokens, d] by key.

    memory_bytes: most bytes kept in memory; the least recently used go first. bytes: how many there are now. disk:
    where they are looked for next.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, disk: DiskFeatures | None = None) -> None:
        self.memory_bytes, self._disk = memory_bytes, disk
        self._features: OrderedDict[bytes, Tensor] = OrderedDict()
        self.bytes = 0

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Tensor]:
        """Those that are there."""
        wanted = dict.fromkeys(keys)
        found = {key: self._features[key] for key in wanted if key in self._features}
        if self._disk is not None and len(found) < len(wanted):
            found |= self._disk.find([key for key in wanted if key not in found])
        self._remember(found)
        return found

    def keep(self, encoded: Mapping[bytes, Tensor]) -> None:
        """Features that were not found."""
        if self._disk is not None:
            self._disk.keep(encoded)
        self._remember(encoded)

    def _remember(self, features: Mapping[bytes, Tensor]) -> None:
        for key, feature in features.items():
            if key not in self._features:
                self._features[key] = feature
                self.bytes += feature.nbytes
            self._features.move_to_end(key)
        while self.bytes > self.memory_bytes:
            _, oldest = self._features.popitem(last=False)
            self.bytes -= oldest.nbytes


class DiskFeatures:
    """Features in a folder that several processes of a machine may use at once; memory-mapped when read.

    identity: all that decides the features of a picture besides its bytes. capacity: most bytes of the folder, whatever
    backbone they belong to; the oldest files go first. A file that is cut off or altered is removed, and its pictures
    are as good as never encoded. Raises DrakeError for a folder that cannot be written; where writing fails later (no
    space is left), a warning says so and nothing more is stored.
    """

    def __init__(self, folder: Path, identity: str, capacity: int, device: str | torch.device = "cpu") -> None:
        check_folder(folder)
        self._root, self._capacity, self._device = folder, capacity, device
        self._folder = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._places: dict[bytes, Path] = {}
        self._known: set[Path] = set()
        self._writes = True

    def find(self, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """Those that are there, on the device."""
        if any(key not in self._places for key in keys):
            self._look()
        by_file = defaultdict(list)
        for key in keys:
            if key in self._places:
                by_file[self._places[key]].append(key)
        return {key: tensor for path, mine in by_file.items() for key, tensor in self._read(path, mine).items()}

    def keep(self, encoded: Mapping[bytes, Tensor]) -> None:
        """Store them together."""
        if not self._writes:
            return
        tensors = {key.hex(): tensor.cpu().contiguous() for key, tensor in encoded.items()}
        path = self._folder / f"{hashlib.sha256(b''.join(encoded)).hexdigest()[:32]}.safetensors"
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(save(tensors, {name: _digest(tensor) for name, tensor in tensors.items()}))
        except DrakeError as error:
            self._writes = False
            warnings.warn(f"pictures are encoded again when they are next needed: {error}", stacklevel=2)
            return
        self._known.add(path)
        self._places |= dict.fromkeys(encoded, path)
        self._make_room()

    def _look(self) -> None:
        """Learn what other processes have stored."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(self._folder):
                path = Path(entry.path)
                if path not in self._known and path.suffix == ".safetensors" and not path.name.startswith("."):
                    self._known.add(path)
                    try:
                        with safe_open(path, "pt") as file:
                            self._places |= {bytes.fromhex(name): path for name in file.keys()}  # noqa: SIM118
                    except (OSError, SafetensorError, ValueError):
                        self._forget(path)

    def _read(self, path: Path, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        try:
            with safe_open(path, "pt") as file:
                sums = file.metadata()
                found = {key: file.get_tensor(key.hex()) for key in keys}
            whole = all(_digest(tensor) == sums[key.hex()] for key, tensor in found.items())
        except (OSError, SafetensorError, KeyError, TypeError):  # another process made room, or the file is broken
            whole = False
        if not whole:
            self._forget(path)
            return {}
        return {key: tensor.to(self._device) for key, tensor in found.items()}

    def _forget(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()
        self._known.discard(path)
        self._places = {key: place for key, place in self._places.items() if place != path}

    def _make_room(self) -> None:
        sizes = {}
        for path in self._root.glob(f"{DIGEST}/{DIGEST}.safetensors"):  # whatever else is there is not ours to delete
            with suppress(FileNotFoundError):
                found = path.stat()
                sizes[path] = (found.st_mtime_ns, found.st_size)
        total = sum(size for _, size in sizes.values())
        for path, (_, size) in sorted(sizes.items(), key=lambda item: item[1]):
            if total <= self._capacity:
                break
            self._forget(path)
            total -= size


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.view(torch.uint8).numpy()).hexdigest()

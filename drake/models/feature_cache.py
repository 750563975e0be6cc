"""A cache of encoded pictures: in memory, and in a folder that later runs and other processes share.

`drake.models.backbone` calls this. The key of a picture's features is the SHA-256 of its bytes; one file of the folder
holds the features of one pass of the vision tower.
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
"""Bytes of features kept in memory unless told otherwise."""
DIGEST = 32 * "[0-9a-f]"
"""A glob for the names of the folders and files made here."""


class FeatureCache:
    """Features [tokens, d] by key, in memory and then on disk.

    memory_bytes: upper limit of bytes kept in memory; the least recently used features are dropped first.
    bytes: bytes kept in memory now.
    disk: searched for what is not in memory; None for memory alone.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, disk: DiskFeatures | None = None) -> None:
        self.memory_bytes, self._disk = memory_bytes, disk
        self._features: OrderedDict[bytes, Tensor] = OrderedDict()
        self.bytes = 0

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Tensor]:
        """The features of those keys that are cached."""
        wanted = dict.fromkeys(keys)
        found = {key: self._features[key] for key in wanted if key in self._features}
        if self._disk is not None and len(found) < len(wanted):
            found |= self._disk.find([key for key in wanted if key not in found])
        self._remember(found)
        return found

    def keep(self, encoded: Mapping[bytes, Tensor]) -> None:
        """Add features that were just encoded."""
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

    identity: all that decides the features of a picture besides its bytes; each identity has a folder of its own.
    capacity: upper limit of bytes for all identities together; the oldest files are deleted first.

    A file that is truncated or altered is deleted, and its pictures are encoded again. Raises DrakeError for a folder
    that cannot be written; if writing fails later (no space left), a warning says so and nothing more is stored.
    """

    def __init__(self, folder: Path, identity: str, capacity: int, device: str | torch.device = "cpu") -> None:
        check_folder(folder)
        self._root, self._capacity, self._device = folder, capacity, device
        self._folder = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._places: dict[bytes, Path] = {}
        self._known: set[Path] = set()
        self._writes = True

    def find(self, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """The features of those keys that are stored, on the device."""
        if any(key not in self._places for key in keys):
            self._look()
        by_file: defaultdict[Path, list[bytes]] = defaultdict(list)
        for key in keys:
            if key in self._places:
                by_file[self._places[key]].append(key)
        return {key: tensor for path, mine in by_file.items() for key, tensor in self._read(path, mine).items()}

    def keep(self, encoded: Mapping[bytes, Tensor]) -> None:
        """Store features of one pass as one file."""
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
        """Read the keys of files that other processes have written."""
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
        found: dict[bytes, Tensor] = {}
        try:
            with safe_open(path, "pt") as file:
                sums = file.metadata()
                found = {key: file.get_tensor(key.hex()) for key in keys}
            whole = all(_digest(tensor) == sums[key.hex()] for key, tensor in found.items())
        except (OSError, SafetensorError, KeyError, TypeError):  # another process deleted it, or the file is damaged
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
        """Delete the oldest files until the folder is within its capacity."""
        sizes: dict[Path, tuple[int, int]] = {}
        for path in self._root.glob(f"{DIGEST}/{DIGEST}.safetensors"):  # files of other programs are left alone
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
    return hashlib.sha256(tensor.view(torch.uint8).numpy().data).hexdigest()

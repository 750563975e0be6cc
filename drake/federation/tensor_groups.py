"""Named groups of tensors with a note about them in one safetensors file, which is whole or absent.

safetensors keeps neither the order of names nor that two names share a tensor; both stand in the header of the file,
since a method's draws may depend on the order. So do the SHA-256 of tensors and header, which are checked when read.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from drake.common.files import replacing
from drake.common.outside import check_regular
from drake.errors import DrakeError
from drake.federation.checksums import check, checksums, of_text
from drake.federation.messages import State


def write_groups(path: Path, groups: Mapping[str, Mapping[str, Tensor]], about: Mapping[str, Any]) -> None:
    """Write group -> name -> tensor; `about` must be JSON. A tensor that has several names is stored once. DrakeError
    where the file cannot be written."""
    stored: dict[str, Tensor] = {}
    numbers: dict[tuple[Any, ...], str] = {}

    def number_of(tensor: Tensor) -> str:
        """The name of the tensor in the file: a new one, unless the same memory is stored already."""
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and memory in numbers:
            return numbers[memory]
        number = str(len(stored))
        stored[number] = _alone(tensor.detach())
        numbers[memory] = number
        return number

    names = {group: {name: number_of(tensor) for name, tensor in tensors.items()} for group, tensors in groups.items()}
    run = json.dumps({"names": names, "about": about, "sha256": checksums(stored)})
    header = {"run": run, "sha256": of_text(run)}
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, header)
        except SafetensorError as error:  # its own name for what the system refuses
            raise OSError(str(error)) from error


def _alone(tensor: Tensor) -> Tensor:
    """The tensor as safetensors takes it: contiguous, and all of its memory."""
    if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes:
        return tensor
    return tensor.clone().contiguous()


def read_groups(
    path: Path, device: str, wanted: Container[str] | None = None
) -> tuple[dict[str, State], dict[str, Any]]:
    """The groups of a file, or only those wanted, and the note about them. DrakeError for a damaged or foreign file."""
    check_regular(path, links=True)
    try:
        with safe_open(path, framework="pt", device=device) as file:
            metadata = file.metadata() or {}
            if metadata.get("sha256", of_text(metadata["run"])) != of_text(metadata["run"]):
                raise ValueError("its header is not the one that was written")
            header = json.loads(metadata["run"])  # with the infinite numbers of a method, too
            names = {group: named for group, named in header["names"].items() if wanted is None or group in wanted}
            stored = {key: file.get_tensor(key) for key in {key for named in names.values() for key in named.values()}}
            if "sha256" in header:  # files of earlier versions have none
                check(stored, header["sha256"])
            groups = {group: {name: stored[key] for name, key in named.items()} for group, named in names.items()}
            return groups, dict(header["about"])
    except (SafetensorError, OSError, MemoryError, *MALFORMED) as error:
        raise damaged(path, error) from error


MALFORMED = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a header raises that is JSON, but not that of a checkpoint."""


def damaged(path: Path, error: Exception) -> DrakeError:
    """The sentence about a file that is no checkpoint."""
    return DrakeError(f"{path} is not a checkpoint of a run ({str(error).rstrip('.')}); use --overwrite always.")

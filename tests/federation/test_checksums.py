"""A flipped bit in a stored state is found when the file is read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from drake.errors import DrakeError
from drake.federation.tensor_groups import read_groups, write_groups

GROUPS = {
    "state": {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)},
    "upload": {"number": torch.tensor(3.0), "none": torch.zeros(0)},
}


def test_groups_come_back_as_they_were(tmp_path: Path) -> None:
    write_groups(tmp_path / "x.safetensors", GROUPS, {"seconds": 1.5})
    groups, about = read_groups(tmp_path / "x.safetensors", "cpu")
    assert about == {"seconds": 1.5}
    for group, tensors in GROUPS.items():
        assert {name: tensor.tolist() for name, tensor in groups[group].items()} == {
            name: tensor.tolist() for name, tensor in tensors.items()
        }


def test_every_flipped_byte_of_tensors_and_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_groups(path, GROUPS, {"seconds": 1.5, "losses": [0.25]})
    good = path.read_bytes()
    (header,) = struct.unpack("<Q", good[:8])
    wanted = range(8 + header, len(good))
    losses = good.index(b"0.25")
    for at in (*wanted, losses):
        bad = bytearray(good)
        bad[at] ^= 1
        path.write_bytes(bad)
        with pytest.raises(DrakeError, match="is not the one that was written"):
            read_groups(path, "cpu")


def test_files_of_earlier_versions_without_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    names = {"state": {"a": "0"}}
    save_file({"0": torch.ones(2)}, path, {"run": json.dumps({"names": names, "about": {}})})
    groups, _ = read_groups(path, "cpu")
    assert groups["state"]["a"].tolist() == [1, 1]


def test_damaged_aligned_factors_are_computed_again(tmp_path: Path) -> None:
    from drake_methods.alignment import Fit
    from drake_methods.frozen import FrozenFactors, _read, _write

    path = tmp_path / "aligned.safetensors"
    fit = Fit(*(0.5 for _ in Fit._fields))
    _write(path, FrozenFactors({"x.A": torch.ones(3)}, {"x": fit}))
    found = _read(path)
    assert found is not None
    assert found.fits == {"x": fit}
    good = path.read_bytes()
    with safe_open(path, "pt") as file:
        assert len(json.loads(file.metadata()["sha256"])) == 1
    for at in (len(good) - 1, good.index(b"0.5")):
        bad = bytearray(good)
        bad[at] ^= 1
        path.write_bytes(bad)
        assert _read(path) is None

"""A flipped bit in a stored state is found when the file is read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from drake.errors import DrakeError
from drake.federation.checkpoint import Checkpoints
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


HEADERS = {
    "a list": "[]",
    "100,000 lists deep": "[" * 100_000,
    "names that are a list": '{"names": [1], "about": {}}',
    "names that are a number": '{"names": {"state": 3}, "about": {}}',
    "a note that is a text": '{"names": {}, "about": "x"}',
    "a note that is missing": '{"names": {}}',
    "a tensor that is not there": '{"names": {"state": {"a": "9"}}, "about": {}}',
    "checksums that are a list": '{"names": {"state": {"a": "0"}}, "about": {}, "sha256": [1]}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_no_run_wrote_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"0": torch.ones(2)}, path, {"run": HEADERS[name]})
    with pytest.raises(DrakeError, match=r"is not a checkpoint of a run \(.*; use --overwrite always\."):
        read_groups(path, "cpu")


NOTES = {
    "an empty one": {},
    "a list": {"traffic": [], "numbers": []},
    "rows that are numbers": {"traffic": [1], "numbers": {}, "waiting": {}, "losses": []},
    "clients that are words": {"traffic": [], "numbers": {"a": {}}, "waiting": {}, "losses": []},
    "losses that are a number": {"traffic": [], "numbers": {}, "waiting": {}, "losses": 5},
}


@pytest.mark.parametrize("name", NOTES)
def test_a_note_that_no_run_wrote_is_one_sentence(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "round-00001"
    folder.mkdir()
    write_groups(folder / "server.safetensors", GROUPS, NOTES[name])
    with pytest.raises(DrakeError, match="use --overwrite always"):
        Checkpoints(tmp_path).load()
    write_groups(folder / "client-0.safetensors", GROUPS, {"seconds": 1})
    with pytest.raises(DrakeError, match="is not a checkpoint of a run"):
        Checkpoints(tmp_path).clients(0)
    write_groups(folder / "client-x.safetensors", GROUPS, {"numbers": None, "sent": False})
    with pytest.raises(DrakeError, match="is not a checkpoint of a run"):
        Checkpoints(tmp_path).of_client(0)


def test_a_pipe_and_a_device_in_place_of_a_checkpoint_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "device.safetensors").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(DrakeError, match="is no file; restore it"):
            read_groups(tmp_path / f"{name}.safetensors", "cpu")


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

"""A checkpoint gives back all of a run's state, bit for bit and in order, or is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from drake.errors import DrakeError
from drake.federation.checkpoint import Progress, load_progress, save_progress
from drake.federation.ledger import Traffic
from drake.federation.method import Download, Upload


def progress() -> Progress:
    shared = torch.arange(6.0).reshape(2, 3)
    return Progress(
        states={
            3: {"z.B": torch.tensor([[0.1, 2.5]], dtype=torch.bfloat16), "a.A": shared, "m.A": shared.T},
            0: {"steps": torch.tensor(7), "z.B": torch.zeros(0)},
            1: {},
        },
        downloads={0: Download({"b.A": shared, "a.A": shared}, {"weight": 1 / 3}), 3: Download({})},
        uploads={0: Upload({"gradient": torch.tensor([1e-300], dtype=torch.float64)}, {"samples": 40, "loss": 0.1})},
        rounds_done=5,
        ledger=[Traffic(0, 3, "up", "A", 24), Traffic(4, 0, "down", "numbers", 8)],
        losses=[{}, {0: 0.1 + 0.2, 3: float("inf")}],
        seconds_train=1.25,
        seconds_eval=1 / 7,
    )


def assert_same_tensors(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def test_all_of_a_runs_state_comes_back_in_order(tmp_path):
    stored = progress()
    save_progress(tmp_path / "checkpoints" / "seed-0.safetensors", stored)
    found = load_progress(tmp_path / "checkpoints" / "seed-0.safetensors")
    assert list(found.states) == [3, 0, 1]
    for client, state in stored.states.items():
        assert_same_tensors(found.states[client], state)
    for kind in (Upload, Download):
        name = f"{kind.__name__.lower()}s"
        messages = getattr(found, name)
        assert list(messages) == list(getattr(stored, name))
        for client, message in getattr(stored, name).items():
            assert type(messages[client]) is kind
            assert_same_tensors(messages[client].tensors, message.tensors)
            assert messages[client].numbers == message.numbers
    assert all(isinstance(row, Traffic) for row in found.ledger)
    empty = {"states": {}, "uploads": {}, "downloads": {}}
    assert replace(found, **empty) == replace(stored, **empty)


def test_a_run_that_has_not_begun_comes_back_too(tmp_path):
    save_progress(tmp_path / "c.safetensors", Progress())
    assert load_progress(tmp_path / "c.safetensors") == Progress()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("damage", [cut, empty, foreign, Path.unlink])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "seed-0.safetensors"
    save_progress(path, progress())
    damage(path)
    with pytest.raises(DrakeError, match=r"seed-0\.safetensors is not a checkpoint of a run"):
        load_progress(path)


def test_a_kill_during_the_write_leaves_the_round_before(tmp_path, monkeypatch):
    path = tmp_path / "seed-0.safetensors"
    save_progress(path, progress())
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_progress(path, replace(progress(), rounds_done=6))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    save_progress(path, replace(progress(), rounds_done=6))
    assert load_progress(path).rounds_done == 6

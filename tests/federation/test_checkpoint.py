"""Checkpoints give back all of a run's state, bit for bit and in order, or are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from drake.errors import DrakeError
from drake.federation.checkpoint import Checkpoints
from drake.federation.communication import MessageTraffic
from drake.federation.method import Download, LocalResult, Upload
from drake.federation.state import Progress

SHARED = torch.arange(6.0).reshape(2, 3)
RESULTS = {
    3: LocalResult(
        {"z.B": torch.tensor([[0.1, 2.5]], dtype=torch.bfloat16), "a.A": SHARED, "m.A": SHARED.T, "cut": SHARED[0]},
        Upload({"b.A": SHARED, "gradient": torch.tensor([1e-300], dtype=torch.float64)}, {"samples": 40, "loss": 0.1}),
        {"loss": 0.1 + 0.2},
    ),
    0: LocalResult({"steps": torch.tensor(7), "z.B": torch.zeros(0), "a.A": torch.zeros(0)}, None, {}),
}


def progress(rounds: int) -> Progress:
    return Progress(
        states={i: result.state for i, result in sorted(RESULTS.items())},
        downloads={0: Download({"b.A": SHARED, "a.A": SHARED}, {"weight": 1 / 3}), 3: Download({})},
        uploads={3: RESULTS[3].upload},
        server={"z.B": SHARED.T, "a.A": SHARED},
        rounds_done=rounds,
        traffic=[MessageTraffic(0, 3, "up", "A", 24), MessageTraffic(4, 0, "down", "numbers", 8)],
        losses=[{}, {0: 0.1 + 0.2, 3: float("inf")}],
        tokens={"small": 640, "large": 320},
        per_token={"small": 1 / 3},
        seconds_train=1.25,
        seconds_aggregate=1 / 9,
        seconds_eval=1 / 7,
    )


def keep(checkpoints: Checkpoints, round: int, clients=(3, 0)) -> None:
    for number, client in enumerate(clients):
        result = RESULTS[client]
        checkpoints.keep_client(round, client, result, result.upload, 1.5 * number)


def assert_same_tensors(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def assert_same_messages(found, expected, kind):
    assert list(found) == list(expected)
    for client, message in expected.items():
        assert type(found[client]) is kind
        assert_same_tensors(found[client].tensors, message.tensors)
        assert found[client].numbers == message.numbers


def assert_same(found: Progress, expected: Progress):
    assert list(found.states) == list(expected.states)
    for client, state in expected.states.items():
        assert_same_tensors(found.states[client], state)
    assert_same_messages(found.uploads, expected.uploads, Upload)
    assert_same_messages(found.downloads, expected.downloads, Download)
    assert all(isinstance(row, MessageTraffic) for row in found.traffic)
    assert_same_tensors(found.server, expected.server)
    empty = {"states": {}, "uploads": {}, "downloads": {}, "server": {}}
    assert replace(found, **empty) == replace(expected, **empty)


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "seed-0")


def files(checkpoints: Checkpoints) -> set[str]:
    return {str(path.relative_to(checkpoints.folder)) for path in checkpoints.folder.rglob("*.safetensors")}


def test_all_of_a_runs_state_comes_back_in_order(checkpoints):
    keep(checkpoints, 4)
    checkpoints.keep_round(progress(5))
    assert_same(checkpoints.load(), progress(5))


def test_a_run_that_has_not_begun_is_progress_of_no_rounds(checkpoints):
    assert checkpoints.load() == Progress()
    assert checkpoints.clients(0) == ({}, 0.0)


def test_a_round_broken_off_gives_back_the_clients_that_had_trained(checkpoints):
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    keep(checkpoints, 1, clients=(0, 3))
    found, seconds = checkpoints.clients(1)
    assert seconds == 1.5
    assert found.keys() == {0, 3}
    for client, result in found.items():
        assert_same_tensors(result.state, RESULTS[client].state)
        assert result.stats == RESULTS[client].stats
    assert found[0].upload is None
    assert_same_messages({3: found[3].upload}, {3: RESULTS[3].upload}, Upload)
    assert_same(checkpoints.load(), progress(1))  # the round is not over


def test_an_upload_outlives_rounds_in_which_its_client_sent_nothing(checkpoints):
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    silent = replace(RESULTS[3], upload=None)
    checkpoints.keep_client(1, 3, silent, RESULTS[3].upload, 0.0)
    assert checkpoints.clients(1)[0][3].upload is None
    checkpoints.keep_round(progress(2))
    assert_same(checkpoints.load(), progress(2))


def test_only_the_latest_file_of_every_client_is_kept(checkpoints):
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    keep(checkpoints, 1, clients=(3,))
    checkpoints.keep_round(progress(2))
    assert files(checkpoints) == {
        "round-00001/client-0.safetensors",
        "round-00002/client-3.safetensors",
        "round-00002/server.safetensors",
    }
    assert_same(checkpoints.load(), progress(2))
    keep(checkpoints, 2, clients=(0, 3))
    checkpoints.keep_round(progress(3))
    assert {name.split("/")[0] for name in files(checkpoints)} == {"round-00003"}
    checkpoints.remove()
    assert checkpoints.load() == Progress()


def test_tensors_with_two_names_are_stored_once(checkpoints):
    big = torch.zeros(100_000)
    result = LocalResult({"local": big}, Upload({"sent": big}), {})
    checkpoints.keep_client(0, 1, result, result.upload, 0.0)
    (path,) = checkpoints.folder.rglob("*.safetensors")
    assert big.nbytes < path.stat().st_size < 1.1 * big.nbytes


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("damage", [cut, empty, foreign])
@pytest.mark.parametrize("name", ["server", "client-3"])
def test_a_damaged_file_is_refused_by_name(checkpoints, damage, name):
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    damage(checkpoints.folder / "round-00001" / f"{name}.safetensors")
    with pytest.raises(DrakeError, match=rf"{name}\.safetensors is not a checkpoint of a run"):
        checkpoints.load()


@pytest.mark.parametrize("moment", ["replace", "unlink"])
def test_a_kill_during_the_write_leaves_a_whole_round(checkpoints, monkeypatch, moment):
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    keep(checkpoints, 1)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.keep_round(progress(2))
    rounds = checkpoints.load().rounds_done
    assert rounds == (1 if moment == "replace" else 2)
    assert_same(checkpoints.load(), progress(rounds))
    checkpoints.keep_round(progress(2))
    assert_same(checkpoints.load(), progress(2))


def test_a_full_disk_is_one_sentence_and_leaves_the_last_state_whole(tmp_path):
    resource = pytest.importorskip("resource")
    checkpoints = Checkpoints(tmp_path)
    keep(checkpoints, 0)
    checkpoints.keep_round(progress(1))
    large = LocalResult({"a.A": torch.zeros(100_000)}, None, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # what a full disk looks like to a process
    try:
        with pytest.raises(DrakeError, match=r"client-3\.safetensors cannot be written"):
            checkpoints.keep_client(1, 3, large, None, 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(checkpoints.load(), progress(1))


def test_one_clients_state_is_read_without_the_others(checkpoints):
    assert checkpoints.of_client(0) is None
    keep(checkpoints, 0)
    assert checkpoints.of_client(0) is None  # the round is not over
    checkpoints.keep_round(progress(1))
    keep(checkpoints, 1, clients=(0,))
    (checkpoints.folder / "round-00001" / "client-3.safetensors").write_bytes(b"damaged")
    state, download = checkpoints.of_client(0)
    assert_same_tensors(state, progress(1).states[0])
    assert_same_messages({0: download}, {0: progress(1).downloads[0]}, Download)
    assert checkpoints.of_client(7) is None


def test_a_client_that_received_nothing_has_no_download(checkpoints):
    keep(checkpoints, 0)
    checkpoints.keep_round(replace(progress(1), downloads={}))
    state, download = checkpoints.of_client(3)
    assert_same_tensors(state, progress(1).states[3])
    assert download is None

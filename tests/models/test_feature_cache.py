"""Encoded pictures: what is forgotten first, what another process finds, and files that are broken or too many."""

import hashlib
import io
import multiprocessing
import os

import pytest
import torch
from PIL import Image

from drake.errors import DrakeError
from drake.models.backbones import load
from drake.models.feature_cache import DiskFeatures, FeatureCache

GB = 10**9


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def picture(seed: int) -> bytes:
    noise = torch.randint(0, 256, (36, 36, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    written = io.BytesIO()
    Image.fromarray(noise.numpy()).save(written, "PNG")
    return written.getvalue()


def features(*names: str, dtype=torch.float32) -> dict[bytes, torch.Tensor]:
    """[4, 3] each, all different."""
    return {
        key(name): torch.randn(4, 3, generator=torch.Generator().manual_seed(sum(name.encode()))).to(dtype)
        for name in names
    }


def same(found, expected) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in expected.items()
    )


def files(folder):
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def test_files_of_others_are_neither_counted_nor_deleted(tmp_path):
    others = [tmp_path / "a-model/model.safetensors", tmp_path / "a-model" / f"{'0' * 32}.safetensors"]
    others[0].parent.mkdir()
    for file in others:
        file.write_bytes(bytes(10_000))
    disk = DiskFeatures(tmp_path, "x", 2000)
    for name in "abcdefghij":
        disk.keep(features(name))
    assert all(file.stat().st_size == 10_000 for file in others)
    own = [file for file in files(tmp_path) if file not in others]
    assert 2 <= len(own) < 10
    assert sum(file.stat().st_size for file in own) <= 2000


def test_memory_forgets_the_least_recently_used():
    abc = features("a", "b", "c")
    cache = FeatureCache(memory_bytes=2 * 48)
    cache.keep(features("a", "b"))
    assert same(cache.find([key("a")]), features("a"))
    cache.keep(features("c"))
    assert same(cache.find(abc), features("a", "c"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_memory_forgets_or_another_process_stored_is_found_on_disk_to_the_bit(tmp_path, dtype):
    stored = features("a", "b", "c", dtype=dtype)
    cache = FeatureCache(memory_bytes=0, disk=DiskFeatures(tmp_path, "x", GB))
    cache.keep(stored)
    assert same(cache.find(stored), stored)
    assert same(DiskFeatures(tmp_path, "x", GB).find([key("b"), key("z")]), features("b", dtype=dtype))
    assert same(DiskFeatures(tmp_path, "y", GB).find(stored), {})  # of another backbone


def test_files_that_come_later_are_found_too(tmp_path):
    reader, writer = DiskFeatures(tmp_path, "x", GB), DiskFeatures(tmp_path, "x", GB)
    assert reader.find([key("a")]) == {}
    writer.keep(features("a"))
    assert same(reader.find([key("a")]), features("a"))


@pytest.mark.parametrize("harm", ["cut off", "altered", "emptied", "no header", "other contents"])
@pytest.mark.parametrize("reader_knows_it", [True, False])
def test_a_broken_file_is_as_good_as_absent_and_can_be_written_again(tmp_path, harm, reader_knows_it):
    disk = DiskFeatures(tmp_path, "x", GB)
    disk.keep(features("a", "b"))
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    broken = {
        "cut off": whole[:-5],
        "altered": whole[:-1] + bytes([whole[-1] ^ 1]),
        "emptied": b"",
        "no header": b"\xff" * len(whole),
        "other contents": whole.replace(key("b").hex().encode(), key("z").hex().encode()),
    }[harm]
    path.write_bytes(broken)
    reader = disk if reader_knows_it else DiskFeatures(tmp_path, "x", GB)
    found = reader.find([key("a"), key("b")])
    assert same(found, {}) or (harm == "other contents" and same(found, features("a")))
    reader.keep(features("a", "b"))
    assert same(DiskFeatures(tmp_path, "x", GB).find(features("a", "b")), features("a", "b"))


def test_the_oldest_files_go_whatever_backbone_they_belong_to(tmp_path):
    old, new = DiskFeatures(tmp_path, "old", GB), DiskFeatures(tmp_path, "new", GB)
    old.keep(features("a"))
    size = files(tmp_path)[0].stat().st_size
    new.keep(features("b"))
    for age, path in enumerate(sorted(files(tmp_path), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, ns=(age, age))
    small = DiskFeatures(tmp_path, "new", 2 * size)
    small.keep(features("c"))
    assert same(old.find([key("a")]), {})
    assert same(small.find([key("b"), key("c")]), features("b", "c"))


def test_a_file_that_another_process_removed_is_a_miss(tmp_path):
    disk = DiskFeatures(tmp_path, "x", GB)
    disk.keep(features("a"))
    files(tmp_path)[0].unlink()
    assert disk.find([key("a")]) == {}


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DrakeError, match="cannot be written"):
        DiskFeatures(tmp_path / "file" / "cache", "x", GB)


def test_where_writing_fails_later_the_run_goes_on_with_a_warning(tmp_path):
    disk = DiskFeatures(tmp_path / "cache", "x", GB)
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match="encoded again .* cannot be written"):
        disk.keep(features("a"))
    disk.keep(features("b"))  # says nothing more
    assert disk.find([key("a")]) == {}


def test_a_backbone_does_not_encode_what_an_earlier_one_did(micro_backbones, tmp_path, monkeypatch):
    images = [picture(seed) for seed in range(20)]
    fresh = load(micro_backbones["llama-4"]).features(images)
    load(micro_backbones["llama-4"], feature_folder=tmp_path, feature_bytes=GB).features(images)
    again = load(micro_backbones["llama-4"], feature_folder=tmp_path, feature_bytes=GB)
    monkeypatch.setattr(again.encoder, "_encode", None)
    assert all(torch.equal(a, b) for a, b in zip(again.features(images), fresh, strict=True))
    other = load(micro_backbones["qwen-4"], feature_folder=tmp_path, feature_bytes=GB)
    monkeypatch.setattr(other.encoder, "_encode", None)
    with pytest.raises(TypeError):  # other weights: nothing is found
        other.features(images[:1])


def test_a_changed_picture_processor_is_another_encoder(micro_backbones, tmp_path):
    from drake.models.loading import encoder_identity

    first, second = load(micro_backbones["llama-4"]), load(micro_backbones["llama-4"])
    assert encoder_identity(first) == encoder_identity(second)
    second.processor.image_processor.do_normalize = False
    assert encoder_identity(first) != encoder_identity(second)


def write_and_read(folder):
    disk = DiskFeatures(folder, "x", GB)
    for number in range(40):
        name = bytes([number]) * 32
        found = disk.find([name])
        if not found:
            disk.keep({name: torch.full((4, 3), float(number))})
        assert torch.equal((found or disk.find([name]))[name], torch.full((4, 3), float(number)))


def test_several_processes_may_write_the_same_features_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    working = [context.Process(target=write_and_read, args=(tmp_path,)) for _ in range(4)]
    for process in working:
        process.start()
    for process in working:
        process.join(60)
    assert [process.exitcode for process in working] == [0] * 4
    found = DiskFeatures(tmp_path, "x", GB).find([bytes([number]) * 32 for number in range(40)])
    assert [found[bytes([number]) * 32][0, 0].item() for number in range(40)] == list(range(40))
    assert len(files(tmp_path)) == 40

"""The search for the largest batch: it finds what fits, tries no size twice, and reads the GPU's memory right."""

import pytest
import torch

from drake.models.largest_batch import fits_in_memory, largest_that_fits


@pytest.mark.parametrize(
    ("start", "room", "found", "tried"),
    [
        (4, 35, 32, [4, 8, 16, 32, 64]),
        (4, 4, 4, [4, 8]),
        (64, 9, 8, [64, 32, 16, 8]),
        (64, 1, 3, [64, 32, 16, 8, 4]),  # nothing fits: the least there can be
        (4, 10_000, 64, [4, 8, 16, 32, 64]),  # no more is of use
        (400, 10_000, 100, [100]),
    ],
)
def test_the_largest_batch_is_found_by_doubling(start, room, found, tried):
    sizes = []

    def fits(size):
        sizes.append(size)
        return size <= room

    assert largest_that_fits(fits, start, least=3, most=100) == found
    assert sizes == tried


def test_a_batch_fits_that_leaves_a_margin(monkeypatch):
    reserved = {"now": 0}
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: reserved.update(now=0))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: reserved["now"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1000))

    def attempt(size):
        if size > 1000:
            raise torch.OutOfMemoryError
        reserved["now"] = size

    fits = {size: fits_in_memory(lambda size=size: attempt(size), torch.device("cuda")) for size in (800, 801, 1001)}
    assert fits == {800: True, 801: False, 1001: False}

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # what is no want of memory is no answer
        fits_in_memory(broken, torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: its memory was NOT asked")
def test_a_gpu_says_what_fits():
    device = torch.device("cuda")
    total = torch.cuda.mem_get_info(device)[1]
    assert fits_in_memory(lambda: torch.empty(1 << 20, device=device), device)
    assert not fits_in_memory(lambda: torch.empty(2 * total, dtype=torch.uint8, device=device), device)

"""Memory that a process keeps for its next tensors."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from drake.common.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    kept, large = bytearray(1), bytearray(64 << 20)  # above glibc's own largest threshold of 32 MiB
    large[::4096] = bytes(len(large[::4096]))
    del large
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Page faults of twenty times 64 MiB that are taken, written and freed."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc: that freed memory is kept was NOT checked")
def test_freed_memory_is_kept_for_the_next_tensors():
    pages = (64 << 20) // 4096
    assert page_faults("default") > 15 * pages
    assert page_faults("keep") < 3 * pages

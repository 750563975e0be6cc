"""Building a release against copying it: `drake build` and `cp -r` of the same folder, on the same disk.

    python benchmarks/release_build.py [--pictures 2000] [--kilobytes 100] [--repeats 3] [--folder DIR]

A synthetic release of one picture for each record, in four data sets, is written as an extracted folder and as tar
archives. Both are built; printed are the seconds of each (the least of several, with the files in memory), the speed of
building as a share of that of copying, and the most memory that a build took. `sync` counts for both, since a build
sees that its files are on the disk. --pictures 20000 is a release of 2 GB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image

SOURCES = ("CIRR", "NLVR2", "VISION", "VSR")
BUILD = "import sys; from drake.cli import main; main()"


def jpeg(size: int) -> bytes:
    """A sound JPEG of about `size` bytes that no other is equal to: a small picture with random bytes in comments."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, "JPEG")
    small = buffer.getvalue()
    comments = b""
    while len(small) + len(comments) < size:
        text = os.urandom(min(65_000, max(1, size - len(small) - len(comments) - 4)))
        comments += b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    return small[:2] + comments + small[2:]


def write_release(folder: Path, pictures: int, size: int) -> None:
    """An extracted release: in every data set nine in ten records are train records."""
    for source in SOURCES:
        images = folder / "dataset" / source / "full" / "images"
        images.mkdir(parents=True)
        rows = []
        for number in range(pictures // len(SOURCES)):
            (images / f"{number:06d}.jpg").write_bytes(jpeg(size))
            question = f"<image>\nWhat is picture {number}?\nChoice list:[cat, dog]. Your answer is:"
            turns = [{"from": "human", "value": question}, {"from": "gpt", "value": ("cat", "dog")[number % 2]}]
            rows.append(
                {"id": number, "image": f"dataset/{source}/full/images/{number:06d}.jpg", "conversations": turns}
            )
        cut = len(rows) * 9 // 10
        for split, part in (("train", rows[:cut]), ("test", rows[cut:])):
            (folder / "dataset" / source / split).mkdir()
            (folder / "dataset" / source / split / "dataset-0.json").write_text(json.dumps(part))


def write_archives(release: Path, folder: Path) -> None:
    """The same as tar archives."""
    folder.mkdir()
    for source in SOURCES:
        with tarfile.open(folder / f"{source}.tar", "w", format=tarfile.GNU_FORMAT) as tar:  # as `tar` does
            tar.add(release / "dataset" / source, source)


class Cost(NamedTuple):
    """The least seconds that a command took, by the clock and of processors, and its memory in MiB."""

    clock: float
    processors: float
    memory: float


def cost(command: list[str], out: Path, repeats: int) -> Cost:
    """Run a command that writes `out`, which is deleted, until everything is on the disk."""
    clock, processors, memory = [], [], 0
    for _ in range(repeats):
        os.sync()
        start = time.perf_counter()
        with open(os.devnull, "wb") as nothing:
            process = subprocess.Popen(command, stdout=nothing, stderr=nothing)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{command} failed")
        os.sync()
        clock.append(time.perf_counter() - start)
        processors.append(used.ru_utime + used.ru_stime)
        memory = max(memory, used.ru_maxrss)
        shutil.rmtree(out)
    return Cost(min(clock), min(processors), memory / 1024)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--kilobytes", type=int, default=100, help="size of a picture")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the one for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        release, archives, out = root / "release", root / "archives", root / "out"
        write_release(release, options.pictures, options.kilobytes * 1000)
        write_archives(release, archives)
        size = sum(path.stat().st_size for path in archives.iterdir())
        imports = f"import os, drake.data.staged, drake.data.sources.release; os.mkdir({str(out)!r})"
        started = cost([sys.executable, "-c", imports], out, options.repeats)
        copy = cost(["cp", "-r", str(release), str(out)], out, options.repeats)
        print(f"{size / 1e9:.2f} GB, {options.pictures:,} pictures; seconds by the clock (of processors), memory")
        print(f"imports alone:               {started.clock:7.2f} ({started.processors:.2f})")
        print(f"cp -r:                       {copy.clock:7.2f} ({copy.processors:.2f})")
        for what, source in (("extracted folder", release), ("tar archives", archives)):
            command = [sys.executable, "-c", BUILD, "build", "--source", f"release:{source}", "--out", str(out)]
            build = cost(command, out, options.repeats)
            print(
                f"build from {what:17} {build.clock:7.2f} ({build.processors:.2f}), {build.memory:.0f} MiB; "
                f"{copy.clock / build.clock:.0%} of the speed of cp -r, "
                f"without the imports {copy.clock / (build.clock - started.clock):.0%}"
            )


if __name__ == "__main__":
    main()

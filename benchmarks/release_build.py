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
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from PIL import Image

SOURCES = ("Bikes", "Cars", "Maps", "Pets")
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


def seconds(command: list[str], out: Path) -> float:
    """The time that a command takes to write `out`, which is deleted, until everything is on the disk."""
    os.sync()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sync()
    taken = time.perf_counter() - start
    shutil.rmtree(out)
    return taken


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
        started = min(seconds([sys.executable, "-c", imports], out) for _ in range(options.repeats))
        copy = min(seconds(["cp", "-r", str(release), str(out)], out) for _ in range(options.repeats))
        print(f"{size / 1e9:.2f} GB, {options.pictures:,} pictures; cp -r: {copy:.2f} s, {size / copy / 1e6:.0f} MB/s")
        for what, source in (("extracted folder", release), ("tar archives", archives)):
            command = [sys.executable, "-c", BUILD, "build", "--source", f"release:{source}", "--out", str(out)]
            build = min(seconds(command, out) for _ in range(options.repeats))
            print(
                f"build from {what}: {build:.2f} s ({started:.2f} s of it imports), {size / build / 1e6:.0f} MB/s, "
                f"{copy / build:.0%} of cp -r; without the imports {copy / (build - started):.0%}"
            )
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"most memory of a build: {memory:.0f} MiB")


if __name__ == "__main__":
    main()

"""Forged submissions: each is refused with a sentence or pointed out, whatever was signed again afterwards.

Here tickets, files that do not belong, and JSON that readers take differently.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drake_leaderboard import tickets, validation
from forging import Json, sign

TICKET: dict[str, tuple[Json, str]] = {
    "another method": ({"method": "fedmosaic"}, "says method 'fedmosaic'"),
    "more answers": ({"answers": 99}, "says answers 99"),
    "a truth value for a seed": ({"seeds": [0, True]}, "cannot be read"),
    "a key of one's own": ({"rerun": True}, "cannot be read"),
    "answers as text": ({"answers": "1"}, "cannot be read"),
    "a hash that is none": ({"sha256": {"results.json": "0"}}, "cannot be read"),
    "a file outside": ({"sha256": {"../results.json": "0" * 64}}, "lacks"),
    "another preset": ({"preset": "paper"}, "says preset 'paper'"),
    "a backbone of nobody": ({"tokens_unchecked": ["ghost"]}, "names 'ghost' in tokens_unchecked"),
    "a script as link": ({"link": "javascript:alert(1)"}, "no plain https address"),
    "a link without encryption": ({"link": "http://example.org"}, "no plain https address"),
    "a link with a password": ({"link": "https://user:secret@example.org/"}, "no plain https address"),
    "a link that ends a quotation": ({"link": 'https://example.org/"onclick="x'}, "no plain https address"),
    "a link to a number": ({"link": "https://127.0.0.1/"}, "no plain https address"),
    "a link to a number in other digits": ({"link": "https://0x7f.1/"}, "no plain https address"),
    "a link to a port that is none": ({"link": "https://example.org:99999/"}, "no plain https address"),
    "a fullwidth name": ({"name": "\uff26\uff45\uff44"}, "a styled letter"),
    "a blank name": ({"name": "\u3164"}, "U+3164"),
    "a padded name": ({"name": "FedIT\u00a0"}, "has spaces at an end"),
    "an author with two spaces": ({"authors": ["A.  Author"]}, "has spaces at an end, several in a row"),
    "a look-alike name": ({"name": "fed\u043cosaic"}, "mixes alphabets"),
    "a name that is hidden": ({"name": "a\u200bb"}, "U+200B"),
    "a long name": ({"name": "x" * 81}, "81 characters"),
    "an author of two lines": ({"authors": ["a\nb"]}, "U+000A"),
    "an empty author": ({"authors": [""]}, "is empty"),
    "a thousand authors": ({"authors": ["a"] * 1000}, "has 1000 authors"),
    "a repository elsewhere": ({"repo_id": "../../etc/passwd"}, "not of the form owner/name"),
}  # fmt: skip


@pytest.mark.parametrize("name", TICKET)
def test_a_ticket_that_lies_is_refused(honest: Path, name: str) -> None:
    changes, sentence = TICKET[name]
    sign(honest, **changes)
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an extra file": (lambda f: (f / "notes.txt").write_text("x"), "holds 1 files more"),
    "a hidden file": (lambda f: (f / ".hidden").write_text("x"), "holds 1 files more"),
    "a link": (lambda f: _link(f / "x", "/etc/passwd"), "symbolic link"),
    "a linked folder": (lambda f: _link(f / "aggregated", "/"), "symbolic link"),
    "results behind a link": (lambda f: _link(f / "results.json", "/dev/zero"), "symbolic link"),
    "a ticket behind a link": (lambda f: _link(f / "submission.json", "/dev/zero"), "symbolic link"),
    "results that are a pipe": (lambda f: _pipe(f / "results.json"), "no regular file"),
    "a ticket that is a pipe": (lambda f: _pipe(f / "submission.json"), "is no file"),
    "a pipe beside": (lambda f: _pipe(f / "x"), "no regular file"),
    "results of gigabytes": (lambda f: _sparse(f / "results.json"), "larger than 256 MiB"),
    "a ticket of gigabytes": (lambda f: _sparse(f / "submission.json"), "larger than 4 MiB"),
    "a ticket 100,000 deep": (lambda f: (f / "submission.json").write_text("[" * 100_000), "100000 deep"),
    "a ticket that is a list": (lambda f: (f / "submission.json").write_text("[]"), "JSON list"),
    "a key twice in the ticket": (lambda f: (f / "submission.json").write_text('{"a": 1, "a": 1}'), "stands twice"),
    "no ticket": (lambda f: (f / "submission.json").unlink(), "holds no submission.json"),
    "no results": (lambda f: (f / "results.json").unlink(), "lacks 1 files"),
    "no answers": (lambda f: shutil.rmtree(f / "predictions"), "lacks 6 files"),
    "a name that is not printable": (lambda f: (f / "a\x1b").write_text(""), "not printable"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_belong_are_refused_at_once(honest: Path, name: str) -> None:
    change, sentence = FILES[name]
    change(honest)
    started = time.perf_counter()
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused
    assert time.perf_counter() - started < 5


JSON_TEXTS = {
    "NaN": (('"seconds": 600.0', '"seconds": NaN'), "NaN is no JSON"),
    "a number that is infinite": (('"seconds": 600.0', '"seconds": 1e999'), "too large"),
    "a key twice": (('"seconds": 600.0', '"seconds": 600.0, "seconds": 1.0'), "stands twice"),
    "a number of 5,000 digits": (('"seconds": 600.0', f'"seconds": {"9" * 5000}'), "5000 digits"),
    "a byte order mark": (('{"schema_version"', '\ufeff{"schema_version"'), "byte order mark"),
}


@pytest.mark.parametrize("name", JSON_TEXTS)
def test_json_that_readers_take_differently_is_refused(honest: Path, name: str) -> None:
    (old, new), sentence = JSON_TEXTS[name]
    path = honest / "results.json"
    text = json.dumps(json.loads(path.read_text()))
    assert old in text
    path.write_text(text)
    sign(honest)
    signed = json.loads((honest / "submission.json").read_text())
    path.write_text(text.replace(old, new))
    signed["sha256"]["results.json"] = tickets.sha256(path)
    (honest / "submission.json").write_text(json.dumps(signed))
    found = validation.validate(honest)
    assert any(sentence in refusal for refusal in found.refused), found.refused

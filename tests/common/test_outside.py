"""What comes from outside is read with limits: files, JSON, texts."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from drake.common.look_alikes import disguise, mixed_alphabets
from drake.common.outside import (
    checked_text,
    file_names,
    json_lines,
    parse_json,
    read_bytes,
    read_json,
    shown,
)
from drake.errors import DrakeError


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(DrakeError, match="is larger than 4 bytes"):
        read_bytes(tmp_path / "a", 4)


def test_links_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{}")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    started = time.perf_counter()
    for name in ("link", "device", "loop"):
        with pytest.raises(DrakeError, match="is a symbolic link"):
            read_bytes(tmp_path / name)
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(DrakeError, match="is no file"):
            read_bytes(path)
    assert time.perf_counter() - started < 1
    assert read_bytes(tmp_path / "link", links=True) == b"{}"
    with pytest.raises(DrakeError, match="is no file"):
        read_bytes(tmp_path / "device", links=True)


def test_a_sparse_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 36)
    tracemalloc.start()
    try:
        with pytest.raises(DrakeError, match="is larger than 16 MiB"):
            read_json(tmp_path / "large")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "100000 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "100000 deep"),
        ('["\\"' + "[" * 200 + '", ' + "[" * 200, "deep"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        ("[NaN]", "NaN is no JSON"),
        ("[-Infinity]", "Infinity is no JSON"),
        ("[1e999]", "too large"),
        (f"[{'9' * 5000}]", "5000 digits"),
        ('["\\ud800"]', "surrogate"),
        ("\ufeff{}", "byte order mark"),
        ("{'a': 1}", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
    ],
)
def test_json_that_is_none_or_more_than_json_is_one_sentence(text: str, sentence: str) -> None:
    started = time.process_time()
    with pytest.raises(DrakeError, match=sentence):
        parse_json(text, "it")
    assert time.process_time() - started < 1


def test_brackets_in_texts_are_no_depth_and_pairs_of_surrogates_are_text() -> None:
    many = "[" * 500
    assert parse_json(f'{{"a": ["{many}", "\\ud83d\\ude00"]}}', "it") == {"a": [many, "😀"]}


def test_an_unclosed_text_does_not_take_long(tmp_path: Path) -> None:
    started = time.process_time()
    with pytest.raises(DrakeError):
        parse_json('["' + '\\"[' * 1_000_000, "it")
    assert time.process_time() - started < 3


def test_the_last_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert list(json_lines(tmp_path / "events.jsonl")) == [{"a": 1}, {"a": 2}]
    (tmp_path / "events.jsonl").write_text('{"a": 1}\n[2]\n{"a": 3}\n')
    with pytest.raises(DrakeError, match=r"line 2 of .* is no JSON object"):
        list(json_lines(tmp_path / "events.jsonl"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (7, "is a int, not a text"),
        ("", "is empty"),
        (" \u00a0", "is empty"),
        ("x" * 1001, "1,001 characters"),
        ("a\x1b[2Jb", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("a\u200bb", r"U\+200B"),
        ("a\nb", r"U\+000A"),
        ("a\u2028b", r"U\+2028"),
        ("a\ud800b", r"U\+D800"),
        ("\u3164", r"U\+3164"),  # fillers, blanks and selectors, which show nothing
        ("\u2800\u2800", r"U\+2800"),
        ("a\u034fb", r"U\+034F"),
        ("a\ufe0fb", r"U\+FE0F"),
        ("a\U000e0101b", r"U\+E0101"),
    ],
)
def test_texts_that_cannot_be_shown_are_refused(text: object, sentence: str) -> None:
    with pytest.raises(DrakeError, match=sentence):
        checked_text(text, "the name")


def test_printable_texts_pass() -> None:
    assert checked_text("Zürich, 東京: Fed–Avg (μ ≥ 2)", "the name") == "Zürich, 東京: Fed–Avg (μ ≥ 2)"
    assert shown("a\x1b[31m\u202e" + "b" * 400) == "a\\x1b[31m\\u202e" + "b" * 293 + "…"


def test_look_alike_letters_within_a_word_are_found() -> None:
    assert mixed_alphabets("fed\u043cosaic") == "\u043c"
    assert mixed_alphabets("FedAvg-μ") is mixed_alphabets("Москва 2") is mixed_alphabets("東京") is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fed\u043cosaic", "mixes alphabets"),
        ("\u0421\u041e\u0410\u0420", "only letters that look like Latin ones"),
        ("\uff26\uff45\uff44", "a styled letter"),
        ("\U0001d405\U0001d41e\U0001d41d", "a styled letter"),
        ("\ua730\u1d07\u1d05", "a styled letter"),
        ("F" + "\u0335\u0300" * 30, "piles up combining marks"),
    ],
)
def test_disguised_names_are_told(name: str, reason: str) -> None:
    assert reason in (disguise(name) or "")


@pytest.mark.parametrize(
    "name", ["FedMosaic, rank 8", "FedAvg-\u03bc\u00b2 \u2122", "Zürich ệ", "Москва", "東京", "हिन्दी", "Α"]
)
def test_names_in_any_one_alphabet_are_no_disguise(name: str) -> None:
    assert disguise(name) is None


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 2_000_000 + "[]]", '["",' + '"",' * 5_000_000 + '""]', f"[{'0,' * 8_000_001}0]"], ids=len
)
def test_json_of_millions_of_lists_or_texts_is_not_parsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("json.loads")
    with pytest.raises(DrakeError, match="2,000,000 lists and objects, 5,000,000 texts or 8,000,000 values"):
        parse_json(text, "it")


def test_the_files_of_a_folder_hold_no_links_and_no_pipes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("")
    assert file_names(tmp_path) == {"a/b"}
    with pytest.raises(DrakeError, match="more than 3 files and folders"):
        file_names(tmp_path, most=3) if (tmp_path / "c").write_text("") == 0 else None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DrakeError, match="pipe is no regular file"):
        file_names(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / "a" / "link").symlink_to("/")
    with pytest.raises(DrakeError, match="symbolic link"):
        file_names(tmp_path)

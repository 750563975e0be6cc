"""The static site without a browser: its files and their text."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from datasets import Dataset
from drake_leaderboard import ranking
from drake_leaderboard.commands import leaderboard
from drake_leaderboard.site import write_site
from drake_leaderboard.site.charts import Dot, Line, linear, lines, logarithmic, scatter
from PIL import Image
from site_samples import HOSTILE, Fabricate

from drake.errors import DrakeError
from drake.results import load


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of them."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


class WithPictures:
    """A dataset whose records have a picture; given by the tests in place of an opened one."""

    def __init__(self, benchmark: Any, image: bytes):
        self.fingerprint, self._benchmark, self._image = benchmark.fingerprint, benchmark, image

    def records(self, task: str, split: str) -> Dataset:
        table = self._benchmark.records(task, split)
        return Dataset.from_list([row | {"images": [{"bytes": self._image, "path": None}]} for row in table])


def _png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 320), "teal").save(out, "PNG", pnginfo=None)
    return out.getvalue()


def test_every_row_with_results_has_a_page_and_nothing_comes_from_elsewhere(
    board: ranking.Board, tmp_path: Path
) -> None:
    assert write_site(board, tmp_path / "site") == 3
    found = sorted(path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.*"))
    assert found == ["entries/best.html", "entries/worst.html", "index.html", "script.js", "style.css"]
    for path in (tmp_path / "site").rglob("*.html"):
        page = Reader(path)
        (policy,) = (m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
        assert policy == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
            "form-action 'none'"
        )
        loaded = [*page.of("script"), *page.of("link"), *page.of("img")]
        assert all(not re.match(r"(https?:)?//", tag.get("src", tag.get("href", ""))) for tag in loaded)
        for _, attributes in page.tags:
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
        assert all(tag["src"].endswith("script.js") for tag in page.of("script"))
        assert "style" not in {tag for tag, _ in page.tags}
        for link in page.of("a"):  # what is linked within the site is there
            if not link["href"].startswith("#"):
                assert (path.parent / link["href"]).is_file()
    assert not re.search(r"https?://|url\(|@import", (tmp_path / "site/style.css").read_text())
    assert not re.search(r"https?://|innerHTML|eval\(", (tmp_path / "site/script.js").read_text())


def test_the_first_page_holds_every_number_of_the_board_as_text(board: ranking.Board, tmp_path: Path) -> None:
    write_site(board, tmp_path / "site")
    page = Reader(tmp_path / "site/index.html")
    rows = [row for rows in board.tables.values() for row in rows]
    assert len([tag for tag in page.of("tr") if "data-row" in tag]) == len(rows)
    for row in rows:
        for score in row.scores.values():
            assert score.mean is None or f"{100 * score.mean:.2f}" in page.text
    assert "2.5 kB" in page.text
    assert page.of("section")[0]["id"] == "drake-mini-dynamic"
    assert len(page.of("section")) == len(board.tables) == len([a for a in page.of("a") if "id" in a])
    assert page.of("section")[0]["aria-labelledby"] in {tag["id"] for tag in page.of("h2")}


def test_tie_groups_are_shown_beside_the_method(board: ranking.Board, tmp_path: Path) -> None:
    tables = {track: [replace(row, group="ab") for row in rows] for track, rows in board.tables.items()}
    write_site(ranking.Board(tables, []), tmp_path / "site")
    text = (tmp_path / "site/index.html").read_text()
    assert '<span class="tie">a</span><span class="tie">b</span>' in text
    assert "cannot be told apart" in text
    write_site(board, tmp_path / "site")
    assert 'class="tie"' not in (tmp_path / "site/index.html").read_text()


def test_hostile_texts_are_text(board: ranking.Board, tmp_path: Path) -> None:
    said = {"name": HOSTILE, "authors": (HOSTILE,), "link": "javascript:alert(3)", "reference": HOSTILE}
    tables = {track: [replace(row, origin=HOSTILE, **said) for row in rows] for track, rows in board.tables.items()}
    write_site(ranking.Board(tables, []), tmp_path / "site")
    pages = [Reader(path) for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) == 3
    for page in pages:
        assert "alert(1)" in page.text
        assert len(page.of("script")) == 1
        assert not page.of("img")
        assert all(re.fullmatch(r"[a-z0-9./-]*(#[a-z0-9-]+)?", link["href"]) for link in page.of("a"))
    assert all(re.fullmatch(r"[a-z0-9-]+\.html", path.name) for path in (tmp_path / "site/entries").iterdir())


def test_a_plain_https_link_is_a_link_that_tells_nothing(board: ranking.Board, tmp_path: Path) -> None:
    tables = {t: [replace(row, link="https://example.org/paper") for row in rows] for t, rows in board.tables.items()}
    write_site(ranking.Board(tables, []), tmp_path / "site")
    (link,) = (a for a in Reader(tmp_path / "site/entries/best.html").of("a") if a["href"].startswith("https:"))
    assert {"noopener", "noreferrer", "nofollow"} <= set(link["rel"].split())


def test_the_page_of_a_submission_has_heat_map_costs_settings_and_answers(board: ranking.Board, tmp_path: Path) -> None:
    write_site(board, tmp_path / "site")
    page = Reader(tmp_path / "site/entries/best.html")
    assert {"scores", "tasks", "answers", "costs", "configuration"} == {tag["id"] for tag in page.of("section")}
    own = [tag for tag in page.of("td") if "own" in tag.get("class", "").split()]
    assert len(own) == 4  # two clients with two tasks each
    assert {tag["class"] for tag in own} == {"h20 own"}
    assert len(page.of("article")) == 10
    verdicts = [tag["class"].split()[-1] for tag in page.of("article")]
    assert set(verdicts) == {"right", "open"}  # all four answers of the last point are right
    assert "config.numbers.training.rank" in page.text
    assert len(page.of("svg")) == 2
    assert page.text.count("Numbers") >= 2


def test_relevance_is_shown_where_a_method_measured_it(fabricate: Fabricate, tmp_path: Path) -> None:
    folder = fabricate("run", "fedmosaic")
    results = load(folder)
    results.runs[0].relevance = [None, [[1.0, 0.25], [-0.5, 1.0]], None, None]
    (folder / "results.json").write_text(results.model_dump_json())
    write_site(ranking.collect([folder], published=False), tmp_path / "site")
    page = Reader(tmp_path / "site/entries/run.html")
    assert "relevance" in {tag["id"] for tag in page.of("section")}
    assert "0.250" in page.text
    assert "from -0.500 to 0.250" in page.text


def test_pictures_are_encoded_again_as_png(
    board: ranking.Board, benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = _png() + b"<script>behind the end</script>"
    monkeypatch.setattr("drake.data.benchmark.load", lambda path: WithPictures(benchmark, hidden))
    write_site(board, tmp_path / "site", "data")
    (picture,) = (tmp_path / "site/pictures").iterdir()  # the same picture everywhere is one file
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert b"script" not in picture.read_bytes()
    with Image.open(picture) as image:
        assert image.size == (320, 160)
    page = Reader(tmp_path / "site/entries/best.html")
    assert {tag["src"] for tag in page.of("img")} == {f"../pictures/{picture.name}"}
    assert all(tag["alt"] for tag in page.of("img"))
    assert "What is it?" in page.text


def test_a_damaged_picture_is_a_sentence(
    board: ranking.Board, benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drake.data.benchmark.load", lambda path: WithPictures(benchmark, b"%!PS"))
    write_site(board, tmp_path / "site", "data")
    page = Reader(tmp_path / "site/entries/best.html")
    assert "EPS (PostScript)" in page.text
    assert not page.of("img")


def test_missing_answers_are_a_sentence(fabricate: Fabricate, tmp_path: Path) -> None:
    folder = fabricate("run")
    (folder / "predictions/seed-0/point-2.parquet").unlink()
    write_site(ranking.collect([folder], published=False), tmp_path / "site")
    assert "No answers are shown" in Reader(tmp_path / "site/entries/run.html").text


def test_a_site_replaces_a_site_and_nothing_else(board: ranking.Board, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    with pytest.raises(DrakeError, match="something else than a site"):
        write_site(board, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"
    write_site(board, tmp_path / "site")
    (tmp_path / "site/entries/old.html").write_text("old")
    write_site(board, tmp_path / "site")
    assert not (tmp_path / "site/entries/old.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if "site" in path.name) == ["site"]  # no leftovers


def test_the_command_writes_the_site_and_refuses_mixed_options(board: ranking.Board, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    found = CliRunner().invoke(leaderboard, [runs, "--no-published", "--no-answers", "--site", str(tmp_path / "site")])
    assert found.exit_code == 0, found.output
    assert "and 2 pages of submissions" in found.output
    both = CliRunner().invoke(leaderboard, [runs, "--site", str(tmp_path / "s"), "--out", str(tmp_path / "o")])
    assert both.exit_code == 2
    assert CliRunner().invoke(leaderboard, [runs, "--data", "somewhere"]).exit_code == 2


def test_charts_escape_labels_and_place_zero_apart() -> None:
    drawn = lines("T", "D", "x", "y", [Line("<b>&", 0, [(1, 2), (2, 3)], [0.1, 0.1])])
    assert "&lt;b&gt;&amp;" in drawn
    assert "<b>" not in drawn
    assert "<title>T</title><desc>D</desc>" in drawn
    axis = logarithmic("bytes", [0, 1000, 1_000_000], lambda count: f"{count:g}")
    assert axis.place(0) == 0.06
    assert 0.12 < axis.place(1000) < axis.place(1_000_000) < 1
    assert axis.place(31_622.7766) == pytest.approx((axis.place(1000) + axis.place(1_000_000)) / 2)
    places = [axis.place(tick) for tick, _ in axis.ticks]
    assert all(later - earlier > 0.1 for earlier, later in pairwise(places))
    dots = [Dot("a", 0, 1, 5), Dot("b", 1, 2, 4), Dot("c", 2, 3, 9)]  # b is beaten by a
    plane = scatter("T", "D", linear("x", [1, 3]), linear("y", [4, 9]), dots, front=True)
    (front,) = re.findall(r'class="front" points="([^"]*)"', plane)
    assert len(front.split()) == 3  # from a to the right, then up to c

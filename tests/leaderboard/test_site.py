"""The static site: its files and their text without a browser, then its behaviour in headless Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser, find
from click.testing import CliRunner
from datasets import Dataset
from drake_leaderboard import ranking
from drake_leaderboard.commands import leaderboard
from drake_leaderboard.entries import Row
from drake_leaderboard.site import build, write_site
from drake_leaderboard.site.charts import Dot, Line, linear, lines, logarithmic, scatter
from drake_leaderboard.site.curves import curves
from drake_leaderboard.site.tracks import Page
from PIL import Image

from drake.errors import DrakeError
from drake.results import Estimate, load

Fabricate = Callable[..., Path]
HOSTILE = '"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>'
ROWS = 500


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


@pytest.fixture
def board(fabricate: Fabricate) -> ranking.Board:
    """Two runs of a track, and the published ones."""
    fabricate("best", "fedmosaic", right=(2, 4), sent=2500, seeds=(0, 1))
    runs = fabricate("worst", "sft", right=(0, 1)).parent
    return ranking.collect([runs])


def _png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (640, 320), "teal").save(out, "PNG", pnginfo=None)
    return out.getvalue()


# --- without a browser -----------------------------------------------------------------------------------------------


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


# --- in Chromium -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "many"


@pytest.fixture
def many(fabricate: Fabricate, kept: Path) -> Path:
    """A site whose first track has 500 rows of ten methods; the pages behind them are not written. Made once."""
    if kept.exists():
        return kept
    folder = fabricate("run", "sft", seeds=(0, 1))
    results = load(folder)
    ((track, (first,)),) = ranking.collect([folder], published=False).tables.items()
    rows: list[Row] = []
    for number in range(ROWS):
        mean = 0.9 - number / 1000
        scores = {
            name: Estimate(mean=mean - place / 100 - (number * 7 % 13) / 500, stderr=0.004, n=2)
            for place, name in enumerate(first.scores)
        }
        scores["self_last"] = Estimate(mean=mean, stderr=0.004, n=2)
        rows.append(
            replace(
                first,
                method=f"method{number % 10}",
                scores=scores,
                upload=float(1000 * (1 + number * 31 % 97)),
                origin=f"run-{number}",
                name=f"entry {number}",
                checked=("rerun", "re-scored", "not checked")[number % 3],
                group="abc"[number % 3],
            )
        )
    other = track._replace(split="static")
    tables = {track: rows, other: [replace(first, track=other)]}
    pages = {id(row): Page(f"entries/{number}.html", curves(results)) for number, row in enumerate(rows)}
    write_site(ranking.Board({}, []), kept)
    (kept / build.INDEX).write_text(build.index(ranking.Board(tables, []), pages), encoding="utf-8")
    return kept


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = find()
    if binary is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium): the site's script was NOT checked")
    with Browser(binary, tmp_path_factory.mktemp("profile")) as started:
        yield started


TIMED = """new Promise((done) => {
  const button = document.querySelector('section:not([hidden]) th[data-key="KEY"] button');
  const before = performance.now();
  button.click();
  document.body.offsetHeight;  // the layout is part of it
  done(performance.now() - before);
})"""
COLUMN = """[...document.querySelectorAll('section:not([hidden]) table.board tbody tr')].filter((row) => !row.hidden)
  .map((row) => ({row: Number(row.dataset.row), value: Number(row.querySelectorAll('[data-v]')[PLACE].dataset.v)}))"""
LAID_OUT = """new Promise((done) => {
  const rows = [...document.querySelectorAll('section:not([hidden]) tbody tr[data-row]')];
  const look = () => document.querySelector('.later') ? setTimeout(look, 20) : done(
    rows.filter((row) => row.offsetHeight).length);
  look();
})"""
SHOWN = "[...document.querySelectorAll('section.track')].filter((part) => !part.hidden).map((part) => part.id)"


def test_five_hundred_rows_load_within_a_second_and_sort_within_100_ms(browser: Browser, many: Path) -> None:
    url = (many / "index.html").as_uri()
    page = browser.open(url)
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    loads = [page.run(timing)]
    while min(loads) >= 1000 and len(loads) < 4:  # others may use this machine
        page.go(url)
        loads.append(page.run(timing))
    assert min(loads) < 1000, loads
    sorts: list[float] = []
    for key, place in (("others_last", 3), ("bytes_up_per_client_and_round", 7), ("others_last", 3)):
        for _ in range(3):  # falls, rises, falls
            sorts.append(page.run(TIMED.replace("KEY", key)))
        values = [found["value"] for found in page.run(COLUMN.replace("PLACE", str(place)))]
        assert len(values) == ROWS
        assert values == sorted(values, reverse=True)
    while min(sorts) >= 100 and len(sorts) < 30:
        sorts.append(page.run(TIMED.replace("KEY", "others_last")))
    assert min(sorts) < 100, sorts
    assert page.run(LAID_OUT) == ROWS  # those far down follow
    sort = page.run("document.querySelector('th[data-key=others_last]').getAttribute('aria-sort')")
    assert sort == "descending"
    assert page.complaints() == []


def test_the_address_keeps_track_order_and_filter(browser: Browser, many: Path) -> None:
    url = (many / "index.html").as_uri()
    page = browser.open(url)
    assert page.run(SHOWN) == ["drake-mini-dynamic"]
    page.run("document.getElementById('tab-drake-mini-static').click()")
    assert page.run(SHOWN) == ["drake-mini-static"]
    assert page.run("location.hash") == "#drake-mini-static"
    page.run("history.back()")
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert page.run(SHOWN) == ["drake-mini-dynamic"]

    page.go(f"{url}#drake-mini-dynamic;sort=others_last;q=method3;mark=rerun")
    found = page.run(COLUMN.replace("PLACE", "3"))
    assert {one["row"] % 10 for one in found} == {4}  # rows count from 1
    assert {one["row"] % 3 for one in found} == {1}
    assert [one["value"] for one in found] == sorted(one["value"] for one in found)
    assert page.run("document.querySelector('.filter').value") == "method3"
    page.go(f"{url}#drake-mini-static")
    assert page.run(SHOWN) == ["drake-mini-static"]


def test_the_filter_hides_rows_and_says_how_many_are_left(browser: Browser, many: Path) -> None:
    page = browser.open((many / "index.html").as_uri())
    status = "document.querySelector('.shown').textContent"
    assert page.run(status) == "500 rows"
    page.run("document.querySelector('.filter').focus()")
    page.send("Input.insertText", text="METHOD7 entry")
    assert page.run(status) == "50 of 500 rows"
    assert {found["row"] % 10 for found in page.run(COLUMN.replace("PLACE", "0"))} == {8}
    page.send("Input.insertText", text=" nothing")
    assert page.run(status) == "0 of 500 rows"
    assert page.run("location.hash") == "#drake-mini-dynamic;q=METHOD7%20entry%20nothing"


def test_the_keyboard_reaches_tabs_and_sorts(browser: Browser, many: Path) -> None:
    page = browser.open((many / "index.html").as_uri())
    page.send("Page.bringToFront")
    active = "document.activeElement.closest('th')?.dataset.key ?? document.activeElement.id"
    passed: list[str] = []
    while "method" not in passed and len(passed) < 20:
        page.press("Tab")
        passed.append(page.run(active))
    assert "theme" in passed
    assert passed[-2:] == ["rank", "method"]
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter")
    names = "[...document.querySelectorAll('section:not([hidden]) tbody th a')].map((link) => link.textContent)"
    assert page.run(names) == sorted(page.run(names))
    page.press("Enter")
    assert page.run(names) == sorted(page.run(names), reverse=True)
    assert page.run("document.querySelector('th[data-key=method]').getAttribute('aria-sort')") == "descending"

    page.run("document.getElementById('tab-drake-mini-dynamic').focus()")
    page.press("ArrowRight")
    assert page.run("document.activeElement.id") == "tab-drake-mini-static"
    assert page.run(SHOWN) == ["drake-mini-static"]
    assert page.run("document.activeElement.getAttribute('aria-selected')") == "true"


def test_the_scheme_follows_the_system_until_the_button_decides(
    browser: Browser, board: ranking.Board, tmp_path: Path
) -> None:
    write_site(board, tmp_path / "site")
    page = browser.open((tmp_path / "site/index.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    page.scheme("light")
    light = page.run(colour)
    page.scheme("dark")
    dark = page.run(colour)
    assert (light, dark) == ("rgb(246, 247, 248)", "rgb(15, 19, 23)")
    page.run("document.getElementById('theme').click()")  # auto -> light
    assert page.run(colour) == light
    page.go((tmp_path / "site/entries/best.html").as_uri())  # remembered
    assert page.run("[document.documentElement.dataset.theme, document.getElementById('theme').textContent]") == [
        "light",
        "Theme: light",
    ]
    assert page.run(colour) == light


def test_a_phone_scrolls_tables_and_not_the_page(browser: Browser, board: ranking.Board, tmp_path: Path) -> None:
    write_site(board, tmp_path / "site")
    page = browser.open((tmp_path / "site/index.html").as_uri())
    page.size(390, 844)
    for name in ("index.html", "entries/best.html"):
        page.go((tmp_path / "site" / name).as_uri())
        assert page.run("[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]") == [390] * 3
    page.go((tmp_path / "site/index.html").as_uri())
    assert page.run(
        "(() => { const box = document.querySelector('.scroll'); return box.scrollWidth > box.clientWidth })()"
    )
    assert page.complaints() == []


def test_hostile_texts_run_nothing(browser: Browser, board: ranking.Board, tmp_path: Path) -> None:
    said = {"name": HOSTILE, "authors": (HOSTILE,), "reference": HOSTILE, "method": HOSTILE}
    tables = {track: [replace(row, **said) for row in rows] for track, rows in board.tables.items()}
    write_site(ranking.Board(tables, []), tmp_path / "site")
    page = browser.open((tmp_path / "site/index.html").as_uri())
    assert page.run("[document.scripts.length, document.images.length]") == [1, 0]
    assert page.run("document.querySelector('.said').textContent") == HOSTILE
    page.go((tmp_path / "site/entries/best.html").as_uri())
    assert page.run("[document.scripts.length, document.images.length]") == [1, 0]
    assert page.complaints() == []

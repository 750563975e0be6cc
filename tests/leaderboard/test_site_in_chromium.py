"""The static site in headless Chromium: how it sorts, filters, looks and how fast it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import Browser, find
from drake_leaderboard import ranking
from drake_leaderboard.entries import Row
from drake_leaderboard.site import build, write_site
from drake_leaderboard.site.curves import curves
from drake_leaderboard.site.tracks import Page
from site_samples import HOSTILE, Fabricate

from drake.results import Estimate, load

ROWS = 500


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

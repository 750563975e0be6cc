"""The committed data cards are the generated ones."""

from pathlib import Path

import pytest

from drake.catalog import tasks
from drake.catalog.cards import card, main, pages, sources, world_module
from drake.errors import DrakeError

FOLDER = Path(__file__).parents[2] / "data_cards"


def test_committed_cards_equal_the_generated_ones():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert committed == pages(FOLDER), "run: python -m drake.catalog.cards"


def test_every_source_has_a_card_with_all_its_tasks_and_its_licence():
    assert len(sources()) == 32
    for source, of_source in sources().items():
        text = card(source)
        assert all(f"| {found.id} |" in text for found in of_source)
        assert of_source[0].licence in text
        assert all(restriction in text for restriction in of_source[0].restrictions)


def test_a_card_says_where_the_release_contradicts_itself():
    assert "contradicts itself" in card("Bongard-HOI")
    assert "contradicts itself" not in card("NLVR2")


def test_every_source_of_drake_has_a_stand_in_and_hflb_has_none():
    assert world_module("Bongard-HOI") == "drake.data.sources.mini.worlds.bongard_hoi"
    assert {found.group for found in tasks().values() if world_module(found.source) is None} == {"hflb"}


def test_notes_are_appended_and_strange_ones_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "VSR.md").write_text("A remark.\n")
    main([str(tmp_path)])
    assert (tmp_path / "VSR.md").read_text().endswith("## Notes\n\nA remark.\n")
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "notes" / "Nowhere.md").write_text("About nothing.\n")
    with pytest.raises(DrakeError, match="Nowhere"):
        pages(tmp_path)

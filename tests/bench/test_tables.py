"""bench/tables.py: what every row asks for exists, so that no long night ends in an unknown option."""

import sys
from pathlib import Path

import pytest

from drake import catalog
from drake.federation import registry
from drake.federation.settings import preset
from drake.harness.request import options_from

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from tables import TABLES

ROWS = {name: options for rows in TABLES.values() for name, (_, options) in rows.items()}


def test_a_name_means_the_same_row_in_every_table():
    for rows in TABLES.values():
        assert all(ROWS[name] == options for name, (_, options) in rows.items())


@pytest.mark.parametrize("name", ROWS)
def test_a_row_asks_for_what_there_is(name):
    options = iter(ROWS[name])
    given = [(option, True if option == "--no-align" else next(options)) for option in options]
    method = dict(given)["--method"]
    pairs = [value for option, value in given if option == "--set"]
    pairs += ["align=false"] if ("--no-align", True) in given else []
    changed = {option[2:]: int(value) for option, value in given if option == "--rank"}
    registry.find(method)(preset("mini").with_(**changed).training, options_from(pairs, method))
    catalog.assign(dict(given).get("--models", "tiny-llama-s").split(","))
    assert {option for option, _ in given} <= {"--method", "--set", "--no-align", "--rank", "--models"}


def test_the_table_of_methods_has_all_that_are_registered():
    assert set(TABLES["methods"]) == set(registry.names())

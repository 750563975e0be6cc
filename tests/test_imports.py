"""Who may import whom: the contracts in pyproject.toml hold, and imports stay light."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lint(folder: Path) -> tuple[int, str]:
    """Exit code and output of import-linter with the settings in `folder`; in a process of its own, since its progress
    bar keeps hold of the standard output."""
    command = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    found = subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


def test_the_import_contracts_hold() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    code, output = lint(ROOT)
    assert code == 0, output
    assert f"Contracts: {len(contracts)} kept, 0 broken." in output
    assert len(contracts) == 4


def test_an_import_of_a_higher_layer_is_found(tmp_path: Path) -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    swapped = settings.replace('"drake.cli",\n  "drake.tools",', '"drake.tools",\n  "drake.cli",')
    assert swapped != settings
    (tmp_path / "pyproject.toml").write_text(swapped)
    code, output = lint(tmp_path)
    assert code == 1
    assert "drake.cli is not allowed to import drake.tools" in output


def test_results_are_loaded_when_used_and_pandas_only_for_data_frames() -> None:
    code = (
        "import sys, drake, drake.results\n"
        "assert not {'pydantic', 'numpy', 'pandas'} & set(sys.modules), 'import drake.results is heavy'\n"
        "assert drake.load_results and drake.results.load and drake.score\n"
        "assert not {'pandas', 'torch', 'matplotlib', 'transformers'} & set(sys.modules), 'reading results is heavy'\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_a_summary_is_printed_without_a_library_of_models() -> None:
    code = (
        "import sys, drake.cli.tables, drake.tools.page, drake_leaderboard.ranking\n"
        "assert not {'torch', 'transformers', 'datasets', 'peft'} & set(sys.modules), 'drake show is heavy'\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_every_package_is_typed() -> None:
    for package in ("drake", "methods/drake_methods", "baselines/drake_baselines", "leaderboard/drake_leaderboard"):
        assert (ROOT / package / "py.typed").exists(), package

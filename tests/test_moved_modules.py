"""Old import paths go on working for one release, with a DeprecationWarning, and name the same objects."""

import subprocess
import sys
from importlib import import_module

import pytest
from forked import run_python

import drake
from drake import _moved


def test_every_old_name_imports_the_module_of_the_new_name():
    code = (
        "import importlib, warnings\n"
        "from drake._moved import MOVED\n"
        "for name in sorted(MOVED):\n"
        "    with warnings.catch_warnings(record=True) as seen:\n"
        "        warnings.simplefilter('always')\n"
        "        old = importlib.import_module(name)\n"
        "    new = importlib.import_module(MOVED[name])\n"
        "    told = [str(w.message) for w in seen if w.category is DeprecationWarning]\n"
        "    sentence = f'{name} is now {MOVED[name]}; the old name will be removed in version 0.3.'\n"
        "    assert sentence in told, (name, told)\n"
        "    assert new.__spec__.name == MOVED[name], name\n"
        "    public = [n for n in vars(new) if not n.startswith('__')]\n"
        "    assert all(getattr(old, n) is getattr(new, n) for n in public), name\n"
        "print(len(MOVED))\n"
    )
    found = run_python(code)
    assert found.stdout.strip() == str(len(_moved.MOVED)), found.stderr


def test_a_module_inside_a_moved_package_is_not_loaded_twice():
    with pytest.warns(DeprecationWarning, match=r"drake\.harness\.folder is now drake\.runs\.folder"):
        old = import_module("drake.harness.folder")
    assert old is import_module("drake.runs.folder")


def test_the_package_that_became_a_function_still_imports_and_can_be_called():
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import drake\nfunction = drake.build\n"
        "from drake.build import build\nimport drake.build\n"
        "assert build is function\n"
        "try: drake.build('nowhere')\n"
        "except drake.DrakeError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "no source is called 'nowhere'" in found.stdout, found.stderr


def test_public_names_are_loaded_when_used():
    """tests/cli/test_cli.py has that importing the package imports nothing heavy."""
    found = run_python("import drake\nprint(*[name for name in drake.__all__ if getattr(drake, name) is None])\n")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        drake.nothing  # noqa: B018

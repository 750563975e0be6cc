"""Modules that have moved: their old names can be imported for one more release, with a DeprecationWarning.

The finder below returns the module of the new name, so that `drake.stream.round_slices` and
`drake.data.schedules.round_slices` are one object. `drake.build`, once a package, is now the function `drake.build`;
`import drake.build` still works and gives a module that can be called.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import MutableSequence, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

REMOVED_IN = "0.3"
"""The version in which the old names are removed."""

MOVED = {
    "drake.backbones": "drake.models.backbones",
    "drake.benchmark": "drake.data.benchmark",
    "drake.build": "drake.data.building",
    "drake.build.manifest": "drake.data.manifest",
    "drake.build.mini": "drake.data.sources.mini",
    "drake.build.record": "drake.data.record",
    "drake.build.release": "drake.data.sources.release",
    "drake.build.writer": "drake.data.writer",
    "drake.checkpoints": "drake.models.checkpoints",
    "drake.federation.attendance": "drake.federation.participation",
    "drake.federation.client": "drake.federation.local_training",
    "drake.federation.engine": "drake.engines.tasks",
    "drake.federation.ledger": "drake.federation.communication",
    "drake.federation.operations": "drake.federation.flops",
    "drake.federation.settings": "drake.config",
    "drake.federation.slots": "drake.engines.pool",
    "drake.harness.method_check": "drake.tools.check_method",
    "drake.files": "drake.common.files",
    "drake.harness": "drake.runs",
    "drake.harness.request": "drake.runs.request",
    "drake.harness.setup": "drake.runs.setup",
    "drake.harness.transfer": "drake.tools.transfer",
    "drake.harness.zero_shot": "drake.tools.zero_shot",
    "drake.harness.export": "drake.tools.export",
    "drake.inspection": "drake.tools",
    "drake.pictures": "drake.data.pictures",
    "drake.plots": "drake.results.plots",
    "drake.predictions": "drake.scoring.predictions",
    "drake.pretrain": "drake.models.tiny",
    "drake.prompts": "drake.models.prompts",
    "drake.provenance": "drake.runs.provenance",
    "drake.scoring.evaluate": "drake.scoring.generation",
    "drake.scoring.rescore": "drake.scoring.scores",
    "drake.seeds": "drake.common.seeds",
    "drake.stopping": "drake.common.stopping",
    "drake.stream": "drake.data.schedules",
}
"""Old name -> new name, for modules that users may import."""


class _CallableModule(ModuleType):
    """Stands for a package that became a function of the same name: it has the module's names and can be called."""

    def __init__(self, name: str, found: ModuleType) -> None:
        super().__init__(name, found.__doc__)
        self.__dict__.update({key: value for key, value in vars(found).items() if not key.startswith("__")})
        self.__path__: MutableSequence[str] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__dict__[self.__name__.rpartition(".")[2]](*arguments, **options)


class _Alias(Loader):
    """Loads the module of the new name in place of the old one."""

    def __init__(self, new: str) -> None:
        self._new = new
        self._kept: dict[str, Any] = {}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        found = import_module(self._new)
        if spec.name == "drake.build":
            return _CallableModule(spec.name, found)
        self._kept = {name: getattr(found, name) for name in ("__spec__", "__loader__", "__package__")}
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Restore the attributes that importlib has set for the old name; the module itself has run already."""
        for name, value in self._kept.items():
            setattr(module, name, value)


def new_name(name: str) -> str | None:
    """The new name of the module `name`; None if it has not moved."""
    old, rest = name, ""
    while old and old not in MOVED:
        old, _, last = old.rpartition(".")
        rest = f".{last}{rest}"
    return f"{MOVED[old]}{rest}" if old else None


class MovedModules(MetaPathFinder):
    """Finds a module under its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that has moved; None for every other name."""
        new = new_name(fullname) if fullname.startswith("drake.") else None
        if new is None:
            return None
        warnings.warn(
            f"{fullname} is now {new}; the old name will be removed in version {REMOVED_IN}.",
            DeprecationWarning,
            stacklevel=_importer(),
        )
        return ModuleSpec(fullname, _Alias(new))


def _importer() -> int:
    """The number of frames from `find_spec`'s caller up to the import statement: those of importlib are skipped."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame, depth = frame.f_back, depth + 1
    return depth


def install() -> None:
    """Make the old names importable; `import drake` calls this. The finder must be the first: an old package has the
    path of the new one, in which other finders would load a second copy of a module."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())

"""One module per mini world; each defines WORLD. `all_worlds` finds them, so a new file is a new world."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from drake.data.sources.mini.world import World


@cache
def all_worlds() -> dict[str, World]:
    """Source id -> world, in alphabetical order of the modules."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    return {module.WORLD.source: module.WORLD for module in modules}

"""A `Config` as a configuration file, with which the same run is started again."""

from __future__ import annotations

from pathlib import Path

from drake.common.files import replacing
from drake.config.schema import Config

HEAD = """# The settings of this run, all of them. To run it again:
#     drake eval --config config.toml --out ANOTHER-FOLDER
# What every setting means: docs/configuration.md.
"""


def write(config: Config, path: Path) -> None:
    """Write the file whole or not at all. DrakeError where it cannot be written."""
    import tomli_w  # here: `drake --help` writes nothing

    text = HEAD + tomli_w.dumps(config.as_dict())
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

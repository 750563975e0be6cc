"""Which licences allow commercial use. Used by the catalog and by `drake build --commercial-only`."""

from __future__ import annotations

import re
from typing import Literal

Commercial = Literal["allowed", "forbidden", "unknown"]

_ALLOWED = frozenset(
    {
        "afl-3.0",
        "apache-2.0",
        "artistic-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsl-1.0",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "cdla-sharing-1.0",
        "isc",
        "mit",
        "ms-pl",
        "ncsa",
        "odbl",
        "odc-by",
        "pddl",
        "postgresql",
        "unlicense",
        "wtfpl",
        "zlib",
    }
)
"""Licences that allow commercial use, as the Hugging Face Hub spells them."""
_FORBIDDEN = re.compile(r"(?:^|-)nc(?:-|$)|non-?commercial|research[- ]only")


def commercial_use(licence: str) -> Commercial:
    """Whether a licence allows commercial use, by its name on the Hugging Face Hub; "unknown" for any other text."""
    name = licence.strip().lower()
    if name in _ALLOWED:
        return "allowed"
    return "forbidden" if _FORBIDDEN.search(name) else "unknown"

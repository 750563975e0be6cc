"""A text that is code where it is not escaped, and the type of the fixture that makes runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Fabricate = Callable[..., Path]
HOSTILE = '"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>'

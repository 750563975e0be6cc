"""Standard output wherever it leads: terminals that know few characters, devices that are full, pipes that are closed.
Used by `drake.cli.main`."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from io import TextIOWrapper

LOOKALIKES = {"·": "-", "±": "+-", "–": "-", "—": "-", "…": "...", "→": "->", "×": "x", "’": "'", "“": '"', "”": '"'}
"""What is written for a character that the terminal's encoding lacks; for all others a question mark."""

HANDLER = "drake.lookalikes"


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(LOOKALIKES.get(character, "?") for character in error.object[error.start : error.end]), error.end


def never_fail_on_characters() -> None:
    """Write lookalikes for what an encoding such as ASCII has no place for, instead of ending with an error."""
    codecs.register_error(HANDLER, _lookalike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=HANDLER)


def is_of_output(error: OSError) -> bool:
    """Whether writing to standard output failed: errors of files name the file."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EDQUOT)


def forget_output() -> None:
    """Send what is still to be written to standard output nowhere, so that the interpreter can end quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

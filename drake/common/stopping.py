"""Ending a run from outside: the first signal asks, and the run stops at its next safe point.

Long loops call `safe_point` where nothing is half done. A second signal stops at once; files are whole or absent
(`drake.common.files`), so even that loses no more than what was being computed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Asked:
    """Whether a signal has come."""

    flag = False


@contextmanager
def gracefully(work: str = "this step") -> Iterator[None]:
    """Inside, SIGINT and SIGTERM end the run at the next safe point with a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _Asked.flag:
            raise KeyboardInterrupt
        _Asked.flag = True
        click.echo(f"{signal.Signals(number).name}: stopping after {work}; once more stops at once.", err=True)

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield
    finally:
        _Asked.flag = False
        for number, handler in before.items():
            signal.signal(number, handler)


def safe_point() -> None:
    """KeyboardInterrupt if a signal has asked the run to stop."""
    if _Asked.flag:
        raise KeyboardInterrupt

"""Stopping a run by a signal: after the first signal it stops at its next safe point, after the second at once.

Long loops call `safe_point` between complete steps. Files are complete or absent (`drake.common.files`), so even an
immediate stop loses only the current step.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Asked:
    """Whether a signal has asked the run to stop."""

    flag = False


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def gracefully(work: str = "this step", tell: Callable[[str], None] = _to_stderr) -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM raise KeyboardInterrupt at the next safe point.

    work: what will be finished first, for the message. tell: shows the message that acknowledges the first signal.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _Asked.flag:
            raise KeyboardInterrupt
        _Asked.flag = True
        tell(f"{signal.Signals(number).name}: stopping after {work}; a second signal stops at once.")

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield
    finally:
        _Asked.flag = False
        for number, handler in before.items():
            signal.signal(number, handler)


def safe_point() -> None:
    """Raise KeyboardInterrupt if a signal has asked the run to stop."""
    if _Asked.flag:
        raise KeyboardInterrupt

"""Ending a run from outside: the first signal asks, and the run stops at its next safe point.

Long loops call `safe_point` where nothing is half done. A second signal stops at once; files are whole or absent
(`drake.common.files`), so even that loses no more than what was being computed.
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
    """Whether a signal has come."""

    flag = False


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def gracefully(work: str = "this step", tell: Callable[[str], None] = _to_stderr) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM end the run at the next safe point with a KeyboardInterrupt. `tell` shows the sentence
    that acknowledges the first signal."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _Asked.flag:
            raise KeyboardInterrupt
        _Asked.flag = True
        tell(f"{signal.Signals(number).name}: stopping after {work}; once more stops at once.")

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

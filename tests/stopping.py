"""A callback that interrupts a run at a chosen moment, as Ctrl+C does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drake.federation.callbacks import Callback


class Stop(Callback):
    """Interrupts the run at the `count`th call of the hook `name`. counts: which calls are counted; default: all."""

    def __init__(self, name: str, count: int, counts: Callable[[Any], object] = lambda context: True) -> None:
        self.left, self.counts = count, counts
        setattr(self, name, self._called)

    def _called(self, context: Any) -> None:
        if self.counts(context):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

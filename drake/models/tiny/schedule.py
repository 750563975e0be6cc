"""The learning-rate schedule of the pretraining."""

import math
from collections.abc import Callable


def cosine(steps: int, warm_up: int, floor: float = 0.02) -> Callable[[int], float]:
    """Factor of the learning rate by step, from 0: linear over `warm_up` steps, then half a cosine down to `floor`."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, steps - warm_up)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor

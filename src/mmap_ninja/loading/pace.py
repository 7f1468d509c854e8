"""How many threads should run ahead: as many as make the steps of training shorter, by measurement."""

import statistics
from typing import Final

SHORT: Final = 300e-6  # seconds: handing over a batch that is made faster costs more than it gains

_SAMPLES: Final = 8  # steps that are measured for each number of threads
_GAIN: Final = 0.95  # of the time of a step: what a thread more must reach
_AGAIN: Final = 512  # steps after which other numbers are tried again, since loops change


class Pace:
    """Measures the steps of a loop with more and more threads, and settles where they are shortest.

    Args:
        most: The largest number of threads.

    Attributes:
        threads: How many should run ahead now; 0: batches are made where they are needed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._search()

    def _search(self) -> None:
        self.threads: int = 0
        self._best, self._best_step = 0, float("inf")  # the number of threads with the shortest steps so far
        self._steps: list[float] = []
        self._making: list[float] = []
        self._skip = 1  # steps that are not measured: the first ones after a change
        self._settled = 0  # steps since the search ended; 0: it goes on

    def add(self, step: float, making: float) -> None:
        """Count a step.

        Args:
            step: Seconds since the batch before was handed out.
            making: Seconds that making this batch took, in whatever thread.
        """
        if self._settled:
            self._settled += 1
            if self._settled > _AGAIN:
                self._search()
        elif self._skip:
            self._skip -= 1
        else:
            self._steps.append(step)
            self._making.append(making)
            if len(self._steps) == _SAMPLES:
                self._judge()

    def _judge(self) -> None:
        step = statistics.median(self._steps)
        gains = step < self._best_step * _GAIN
        if gains:
            self._best, self._best_step = self.threads, step
        if gains and self.threads < self._most and statistics.median(self._making) >= SHORT:
            self.threads += 1
        else:
            self.threads, self._settled = self._best, 1
        # The batches that are waiting already are not of this number of threads.
        self._steps, self._making, self._skip = [], [], 2 * self.threads + 2

"""Signals, and exceptions out of the user's own code: nothing half done stays."""

import os
import signal

import pytest
from faults import NEW, OLD, opened, sample

from mmap_ninja import StringsMmap


def test_signals_during_commits_lose_nothing(path):
    texts = StringsMmap(path)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(500):
            texts.append(sample(number))
            if number % 50 == 0:
                texts.flush()
        texts.extend(["x" * 1000] * 1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert handled
    assert list(StringsMmap(path)) == OLD + [sample(number) for number in range(500)] + ["x" * 1000] * 1000


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit, MemoryError, SystemExit])
@pytest.mark.parametrize("exists", [False, True])
def test_error_in_the_generator_at_each_batch_is_resumed(tmp_path, error, exists):
    def source():
        yield from NEW[:after]
        raise error

    kept = []  # tracebacks hold on to the frames of the failed builds
    for after in range(len(NEW) + 1):
        path = tmp_path / str(after)
        if exists:
            StringsMmap.from_strings(path, OLD)
        with pytest.raises(error) as raised:
            StringsMmap.from_generator(path, source(), batch_size=3)
        kept.append(raised)
        assert list(opened(path)) == (OLD if exists else NEW[: after // 3 * 3])
        texts = StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume")
        assert list(texts) == NEW
        assert texts.complete
        assert len(os.listdir(path)) == 7

"""A short run of what `make fuzz` does, with and without atheris, and the inputs that it has found."""

import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"


@pytest.fixture(scope="module")
def fuzz_open():
    """The fuzz target, which is not a module of the package."""
    sys.path.insert(0, str(FUZZ))
    import fuzz_open  # noqa: PLC0415 - slow to import, and other tests do not need it

    sys.path.remove(str(FUZZ))
    return fuzz_open


def test_saved_inputs_are_read_or_refused(fuzz_open):
    assert fuzz_open.replay(FUZZ / "corpus" / "fuzz_open.zip") > 20


@pytest.mark.parametrize("runs", [100, pytest.param(2000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_read_or_refused(fuzz_open, seed, runs):
    assert fuzz_open.fuzz_randomly(runs=runs, seconds=240, seed=seed) == runs


def test_undocumented_error_ends_the_fuzzing(fuzz_open, monkeypatch):
    """A test of the test."""

    def broken(path, **_):
        raise KeyError(path)

    monkeypatch.setattr(fuzz_open.mmap_ninja, "open", broken)

    with pytest.raises(KeyError):
        fuzz_open.fuzz_randomly(runs=1, seconds=60, seed=0)

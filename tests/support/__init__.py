"""Shared by the tests: kinds of datasets, faults, crashes, power losses, independent readers."""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("faults", "interrupts", "layouts", "programs", "storm", "tracing"))
)

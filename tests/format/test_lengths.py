"""The lengths of a generation's files: the rules in Python and in the kernel must agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmap_ninja import _kernel
from mmap_ninja.columns.types import LengthRule
from mmap_ninja.format.lengths import FileRule, extents
from mmap_ninja.format.meta import first_columns, new_meta

SMALL = st.integers(0, 2**40)
FILE_RULES = st.lists(
    st.builds(FileRule, st.sampled_from(LengthRule), st.integers(0, 2**20), st.just(0), st.booleans())
)


def of_kernel(rules, rows, edits, ends):
    asked = [(int(rule.length), rule.unit, rule.sealed) for rule in rules]
    return _kernel.extents(asked, rows, edits, list(ends))


@given(st.data(), FILE_RULES, SMALL, SMALL)
def test_kernel_and_format_agree_on_every_length(data, rules, rows, edits):
    ends = data.draw(st.lists(SMALL, min_size=len(rules), max_size=len(rules)))

    expected = extents(rules, rows, edits, ends)

    if max(expected, default=0) < 2**63:
        assert of_kernel(rules, rows, edits, ends) == expected
    else:
        with pytest.raises(OverflowError, match=r"the dataset would exceed 2\^63 bytes"):
            of_kernel(rules, rows, edits, ends)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("length", [LengthRule.ROWS, LengthRule.OFFSETS, LengthRule.PAYLOAD, LengthRule.EDITS])
def test_kernel_refuses_lengths_that_no_file_has(length, number):
    rules = [FileRule(length, 2, 0, sealed=True)]

    with pytest.raises(OverflowError):
        of_kernel(rules, number, number, [number])


def test_lengths_of_a_generation_follow_its_files():
    """Three texts with a million bytes in total, and two edits: 15 blocks of the payload are complete."""
    meta = new_meta("strings", 1, bytes(16), first_columns("strings"), {})

    found = extents(meta.rules, 3, 2, [10**6, 0, 0, 0])

    assert dict(zip([file.role for file in meta.files], found, strict=True)) == {
        "data": 10**6, "offsets": 4 * 8, "edits": 2 * 32, "sums": 15 * 24,
    }  # fmt: skip
    assert of_kernel(meta.rules, 3, 2, [10**6, 0, 0, 0]) == found

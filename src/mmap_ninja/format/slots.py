"""The commit slots. Their layout is in the kernel, which reads and writes them on the hot path."""

from typing import Final

from mmap_ninja import _kernel

FORMAT_VERSION: Final = 1
KNOWN_FEATURES: Final = 0
COMMIT_SIZE: Final = _kernel.SLOTS * _kernel.SLOT_STRIDE
EDIT_SIZE: Final = 32
SUM_SIZE: Final = 24  # of an entry of the sums file: file, block, sum

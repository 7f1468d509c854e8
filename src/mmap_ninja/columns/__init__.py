"""What a column holds: types, how values become bytes of them, what users declare, names and batches."""

from mmap_ninja import _kernel, errors

# Here, in the lowest folder, so that it has run before any call of the kernel that can fail.
_kernel.raise_from(errors)

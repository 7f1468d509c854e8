"""What a column holds: types, how values become bytes of them, what users declare, names and batches."""

from mmap_ninja import _kernel, errors

# Here, in the lowest folder: whatever asks the kernel for what can fail has imported it by then.
_kernel.raise_from(errors)

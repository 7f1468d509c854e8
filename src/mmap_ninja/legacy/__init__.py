"""Directories of mmap_ninja 0.2 to 0.9: reading them as they are, and upgrading them."""

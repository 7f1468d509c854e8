"""Directories of mmap_ninja 0.2 to 0.9: read as they are, and upgraded."""

"""The command `mmap-ninja`: data to stdout, words to stderr; one module for the commands of a sort.

Commands import what they need when they run, so that `--help` loads no NumPy.
"""

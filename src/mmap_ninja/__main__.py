"""`python -m mmap_ninja`: the command `mmap-ninja`."""

from mmap_ninja.cli.main import main

if __name__ == "__main__":
    main()

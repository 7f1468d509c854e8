"""`python -m mmap_ninja`, and the command `mmap-ninja`, which is the same."""

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it with a line, also while it is imported."""
    try:
        from mmap_ninja.cli.main import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        from mmap_ninja import progress  # noqa: PLC0415

        progress.note("mmap-ninja: interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()

"""Numbers for people."""


def size_text(size: float) -> str:
    """A number of bytes: "1.5 MB"; units are powers of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:  # what is shown with three digits
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def counted(count: int, what: str) -> str:
    """A number of things: "1 sample", "2,000 samples"."""
    return f"{count:,} {what}{'s' * (count != 1)}"

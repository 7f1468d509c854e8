"""Exceptions of a build's source: they tell where in the source they were raised."""

from typing import Final

# What the text of an exception is made of, by the method that makes it; others show their arguments.
_FIELDS: Final = {
    UnicodeDecodeError.__str__: "reason",
    UnicodeEncodeError.__str__: "reason",
    UnicodeTranslateError.__str__: "reason",
    OSError.__str__: "strerror",
    ImportError.__str__: "msg",
    SyntaxError.__str__: "msg",
}
_SHOW_ARGUMENTS: Final = (BaseException.__str__, OSError.__str__, AttributeError.__str__, NameError.__str__)


class _Key(str):
    """The key of a KeyError, which shows the key's repr: equal to the key, but its repr also tells where it was."""

    __slots__ = ("where",)
    where: str

    def __repr__(self) -> str:
        return f"{super().__repr__()} ({self.where})"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def locate(error: BaseException, where: str) -> None:
    """Tell where an exception was raised, if it does not itself: in its message, or else in a note."""
    if not tells_place(error, where) and not is_told(error, where):
        error.add_note(where)


def tells_place(error: BaseException, where: str) -> bool:
    """Whether the message of an exception has a text."""
    try:
        return where in str(error)
    except Exception:  # noqa: BLE001 - of a derived class
        return False


def is_told(error: BaseException, where: str) -> bool:
    """Add a text to the message of an exception; False if programs might compare what the message is made of.

    The exception stays the same object: `except` must find its type, and handlers its attributes.
    """
    made_by = type(error).__str__
    field = _FIELDS.get(made_by)
    try:
        if field is not None and isinstance(text := getattr(error, field), str):
            setattr(error, field, f"{text} ({where})")
            return True
        match error.args:
            case (str() as text,) if made_by is KeyError.__str__:
                key = _Key(text)
                key.where = where
                error.args = (key,)
            case (str() as text,) if made_by in _SHOW_ARGUMENTS:
                error.args = (f"{text} ({where})",)
            case () if made_by in _SHOW_ARGUMENTS:
                error.args = (where,)
            case _:
                return False
    except Exception:  # noqa: BLE001 - a property of a derived class; what was raised matters more
        return False
    return True

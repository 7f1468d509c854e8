"""The user's metadata as a handle shows it: builtin dicts and lists that refuse to be changed."""

from typing import Any, NoReturn


def shown(value: Any) -> Any:
    """A JSON value whose dicts and lists are read-only."""
    if isinstance(value, dict):
        return _Dict({key: shown(item) for key, item in value.items()})
    return _List(map(shown, value)) if isinstance(value, list) else value


def _changeable(value: Any) -> Any:
    """A copy of a JSON value whose dicts and lists can be changed."""
    if isinstance(value, dict):
        return {key: _changeable(item) for key, item in value.items()}
    return list(map(_changeable, value)) if isinstance(value, list) else value


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(
        "metadata: is stored as a whole, and a change of what a handle shows would be lost; store a new dict: "
        "ds.metadata = {**ds.metadata, 'key': value}, or change copy.deepcopy(ds.metadata) and store that"
    )


class _Dict(dict[str, Any]):
    """A dict that cannot be changed; copies and pickles of it are plain dicts, which can."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[str, Any]:
        """A plain dict, whose dicts and lists are plain, too."""
        plain: dict[str, Any] = _changeable(self)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)


class _List(list[Any]):
    """A list that cannot be changed; copies and pickles of it are plain lists, which can."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def copy(self) -> list[Any]:
        """A plain list, whose dicts and lists are plain, too."""
        plain: list[Any] = _changeable(self)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.copy(),)

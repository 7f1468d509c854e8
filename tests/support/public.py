"""What users can name: the names of the package and its namespaces, the members of its classes, the integrations."""

import ast
import inspect
from pathlib import Path

import mmap_ninja

PACKAGE = Path(mmap_ninja.__file__).parent


def public_names():
    """Dotted names, without those that are another name of one before: of `__all__`, of namespaces, of integrations.

    Each with its docstring; those of integrations are read from the sources, since these import their frameworks.
    """
    names, seen = {}, []
    spaces = [mmap_ninja, *(getattr(mmap_ninja, name) for name in mmap_ninja.__all__)]
    for space in filter(inspect.ismodule, spaces):
        for name in space.__all__:
            value = getattr(space, name)
            if not inspect.ismodule(value) and not any(value is other for other in seen):
                seen.append(value)
                names[f"{space.__name__}.{name}"] = value.__doc__
    for path in sorted((PACKAGE / "integrations").glob("[!_]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                names[f"mmap_ninja.integrations.{path.stem}.{node.name}"] = ast.get_docstring(node)
    return names


def members_of(cls):
    """The public members of a class that this package defines, each with the class that defines it."""
    for name in dir(cls):
        definer = next(base for base in cls.__mro__ if name in vars(base))
        if not name.startswith("_") and definer.__module__.partition(".")[0] == "mmap_ninja":
            yield name, definer


def public_classes():
    """The classes in `__all__`, by their names."""
    values = {name: getattr(mmap_ninja, name) for name in mmap_ninja.__all__}
    return {name: value for name, value in values.items() if isinstance(value, type)}

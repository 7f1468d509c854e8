"""Types of columns as they are written at the shell: `int64`, `text:nullable`, `array:float32:28x28`."""

import ast
import re
import shlex
from typing import Final

import click
import numpy as np

from mmap_ninja.columns import specs
from mmap_ninja.columns.specs import Spec

_NULLABLE: Final = "nullable"
_SPANS: Final[dict[str, type[specs.Text | specs.Bytes | specs.Json]]] = {
    "text": specs.Text,
    "bytes": specs.Bytes,
    "json": specs.Json,
}
_DECLARED: Final = re.compile(r"columns=\{('(?:[^'\\]|\\.)*'): mn\.(\w+)\(((?:[^()]|\([^()]*\))*)\)\}")
_EXPECTED: Final = (
    "text, bytes, json, a dtype such as int64, ragged:DTYPE[:DIMENSIONS] or array:DTYPE:SHAPE, such as "
    "array:float32:28x28; :nullable after it allows missing values"
)


def parse(text: str) -> tuple[str, Spec]:
    """Name and type of a column, from `name=type`.

    Raises:
        click.BadParameter: if it is not of that form.
    """
    name, equals, given = text.partition("=")
    parts = given.split(":")
    nullable = parts[-1] == _NULLABLE
    try:
        if not name or not equals:
            raise ValueError(text)
        return name, _spec(parts[:-1] if nullable else parts, nullable)
    except (TypeError, ValueError):
        raise click.BadParameter(f"{text!r}: expected NAME=TYPE; a type is {_EXPECTED}") from None


def _spec(parts: list[str], nullable: bool) -> Spec:
    match parts:
        case [("text" | "bytes" | "json") as word]:
            return _SPANS[word](nullable=nullable)
        case ["ragged", dtype]:
            return specs.Ragged(np.dtype(dtype), nullable=nullable)
        case ["ragged", dtype, ndim]:
            return specs.Ragged(np.dtype(dtype), int(ndim), nullable=nullable)
        case ["array", dtype, shape]:
            return specs.Array(tuple(map(int, shape.split("x"))), np.dtype(dtype), nullable=nullable)
        case [dtype] if dtype and np.dtype(dtype).itemsize:  # "str" has none: it is called "text"
            return specs.Scalar(np.dtype(dtype), nullable=nullable)
        case _:
            raise ValueError(parts)


def shown(spec: Spec) -> str:
    """The type as `parse` reads it."""
    match spec:
        case specs.Scalar(dtype):
            text = str(np.dtype(dtype))
        case specs.Array(shape, dtype):
            text = f"array:{np.dtype(dtype)}:{'x'.join(map(str, shape))}"
        case specs.Ragged(dtype, ndim):
            text = f"ragged:{np.dtype(dtype)}" + ("" if ndim is None else f":{ndim}")
        case _:
            text = next(word for word, of in _SPANS.items() if isinstance(spec, of))
    return f"{text}:{_NULLABLE}" if spec.nullable else text


def as_options(message: str) -> str:
    """A message with the option `--column` where it declares a column as in Python."""
    return _DECLARED.sub(_option, message)


def _option(declared: re.Match[str]) -> str:
    """The option for a column that is declared as in Python."""
    call = ast.parse(f"f({declared[3]})", mode="eval").body
    assert isinstance(call, ast.Call)  # noqa: S101 - for the type checker
    positional = [ast.literal_eval(value) for value in call.args]
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    spec: Spec = getattr(specs, declared[2])(*positional, **named)
    return f"--column {shlex.quote(f'{ast.literal_eval(declared[1])}={shown(spec)}')}"

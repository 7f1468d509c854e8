"""Types of columns at the shell."""

import click
import pytest

import mmap_ninja as mn
from mmap_ninja.cli.column_types import as_options, parse, shown

TYPES = {
    "text": mn.Text(),
    "bytes": mn.Bytes(),
    "json": mn.Json(),
    "text:nullable": mn.Text(nullable=True),
    "json:nullable": mn.Json(nullable=True),
    "int64": mn.Scalar("int64"),
    "float32:nullable": mn.Scalar("float32", nullable=True),
    "datetime64[ns]": mn.Scalar("datetime64[ns]"),
    "ragged:int32": mn.Ragged("int32"),
    "ragged:float32:1": mn.Ragged("float32", 1),
    "ragged:uint8:3:nullable": mn.Ragged("uint8", 3, nullable=True),
    "array:float32:28x28": mn.Array((28, 28), "float32"),
    "array:uint8:3:nullable": mn.Array((3,), "uint8", nullable=True),
}


@pytest.mark.parametrize("text", TYPES)
def test_type_is_read_and_shown(text):
    name, spec = parse(f"a={text}")

    assert (name, shown(spec), shown(TYPES[text])) == ("a", text, text)


def test_name_may_have_dots_and_colons():
    assert parse("meta.a:b=int8")[0] == "meta.a:b"


@pytest.mark.parametrize(
    "text",
    ["", "a", "a=", "=text", "a=words", "a=nullable", "a=text:5", "a=ragged", "a=ragged:int8:x", "a=array:int8",
     "a=array:int8:28x", "a=array:int8:2:3", "a=int64:null", "a=:int64", "a=str"],
)  # fmt: skip
def test_other_texts_are_refused_with_what_is_expected(text):
    with pytest.raises(click.BadParameter, match=r"expected NAME=TYPE; a type is text, bytes, json, a dtype"):
        parse(text)


@pytest.mark.parametrize(
    ("declared", "option"),
    [
        ("{'a': mn.Json()}", "a=json"),
        ("{'a b': mn.Text(nullable=True)}", "'a b=text:nullable'"),
        ("{'a': mn.Scalar('float32', nullable=True)}", "a=float32:nullable"),
        ("{'a': mn.Ragged('float64', ndim=2)}", "a=ragged:float64:2"),
        ("{'a': mn.Array((28, 28), 'uint8')}", "a=array:uint8:28x28"),
    ],
)
def test_errors_declare_columns_with_the_option(declared, option):
    assert as_options(f"declare it: columns={declared}; or so") == f"declare it: --column {option}; or so"

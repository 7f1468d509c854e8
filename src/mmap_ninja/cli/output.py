"""What commands write: samples and tables to stdout, words to stderr."""

import json
from typing import Any

import click


def write_sample(sample: Any, *, as_json: bool) -> None:
    """Write a sample to stdout, for people or as a line of JSON."""
    click.echo(json.dumps(sample, ensure_ascii=False) if as_json else str(sample))

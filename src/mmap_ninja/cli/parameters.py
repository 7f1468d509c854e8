"""Arguments and options that several commands have, so that they look alike."""

from typing import Final

import click

dataset_argument: Final = click.argument("dataset", type=click.Path())
out_argument: Final = click.argument("out", type=click.Path())
column_option: Final = click.option("--column", metavar="NAME", help="Only this column of records.")
json_option: Final = click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
json_lines_option: Final = click.option("--json", "as_json", is_flag=True, help="One JSON value a line.")
if_exists_option: Final = click.option(
    "--if-exists",
    type=click.Choice(["error", "replace"]),
    default="error",
    show_default=True,
    help="What to do if OUT is there already.",
)
yes_option: Final = click.option("-y", "--yes", is_flag=True, help="Do not ask.")

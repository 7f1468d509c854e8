"""Arguments and options that several commands have, so that they look alike."""

from typing import Any, Final

import click


class _Path(click.Path):
    """A path; an empty one, as of a variable of the shell that is not set, does not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH: Final = _Path(readable=False)  # the library says what is wrong with it
dataset_argument: Final = click.argument("dataset", type=PATH)
out_argument: Final = click.argument("out", type=PATH)
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

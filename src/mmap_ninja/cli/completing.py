"""`completion`: the script with which a shell completes commands, options and paths."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    r"""Print the script that completes commands and paths.

    \b
    Example:
      mmap-ninja completion bash >> ~/.bashrc
      mmap-ninja completion zsh >> ~/.zshrc
      mmap-ninja completion fish > ~/.config/fish/completions/mmap-ninja.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click knows these shells
    click.echo(made(context.find_root().command, {}, "mmap-ninja", "_MMAP_NINJA_COMPLETE").source())


COMMANDS = (completion,)

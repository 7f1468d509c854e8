"""Commands that look into datasets, and what they wrote."""

import json
import shlex

from support.shell import Terminal, run


def look(*words, code=0):
    """What a command writes to stdout; its exit code must be `code`."""
    ended = run(*words)
    assert ended.code == code, ended.err
    return ended.out


def look_json(*words, code=0):
    """The same as values: one, or, of commands that write one a line, a list."""
    text = look(*words, "--json", code=code)
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return json.loads(text)


def refusal(*words):
    """What a command says that refuses to do anything."""
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    return ended.err


def screen_of(line, *words):
    """What a line of bash writes to a terminal, with its colors."""
    with Terminal(["bash", "-c", shlex.join([*line.split(), *map(str, words)])], None) as terminal:
        terminal.wait_for("\0")
        assert terminal.code() == 0, terminal.shown
        return terminal.shown.replace("\r\n", "\n")

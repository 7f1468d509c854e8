"""How all commands behave: help, errors, warnings, exit codes, signals, pipes."""

import os
import re
import resource
import signal
import subprocess

import click
import pytest

import mmap_ninja as mn
from mmap_ninja.cli.main import SECTIONS, cli
from support.faults import as_nobody
from support.shell import COMMAND, process, run, script

COMMANDS = [command for section in SECTIONS.values() for command in section]
OF_DATASETS = [command for command in COMMANDS if command.name not in ("completion", "convert")]
WORDS = {
    "values": ["key=1"],
    "parts": ["train=1"],
    "name": ["text"],
    "new_name": ["review"],
    "which": ["0"],
    "pattern": ["good"],
}


def words_for(command, path, out):
    """The arguments of a command, all datasets at one path."""
    words = [command.name]
    for argument in (parameter for parameter in command.params if isinstance(parameter, click.Argument)):
        if argument.name == "out":
            words.append(str(out))
        elif isinstance(argument.type, click.Path):
            words.append(str(path))
        elif isinstance(argument.type, click.types.IntParamType):
            words.append("0")
        else:
            words += WORDS[argument.name]
    return [*words, *["--yes"] * any(parameter.name == "yes" for parameter in command.params)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_every_command_has_an_example_of_it(command):
    ended = run(command.name, "--help")

    assert (ended.code, ended.err) == (0, "")
    assert re.search(rf"\n  Example:\n    (.* \| )?mmap-ninja {command.name} ", ended.out)
    assert all(len(line) <= 80 for line in ended.out.splitlines())


@pytest.mark.parametrize("command", OF_DATASETS, ids=lambda command: command.name)
def test_every_command_says_that_nothing_is_at_a_path_in_one_line(command, tmp_path):
    missing = tmp_path / "missing"

    ended = run(*words_for(command, missing, tmp_path / "out"))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"mmap-ninja: {missing}: no such directory; ")
    assert ended.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", OF_DATASETS, ids=lambda command: command.name)
def test_every_command_refuses_an_empty_path(command, tmp_path):
    ended = run(*words_for(command, "", tmp_path / "out"))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(": the path is empty\n")


@pytest.mark.parametrize("command", OF_DATASETS, ids=lambda command: command.name)
def test_every_command_says_what_it_found_that_is_no_dataset(command, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "photo.jpg").touch()

    ended = run(*words_for(command, other, tmp_path / "out"))

    if command.name == "doctor":  # which says it as a finding
        assert (ended.code, "photo.jpg" in ended.out) == (1, True)
        return
    assert (ended.code, ended.out) == (2, "")
    expected = f"mmap-ninja: {other}: holds ['photo.jpg'] but no COMMIT file; it is not a dataset of mmap_ninja; "
    assert ended.err.startswith(expected + "choose another path")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("command", OF_DATASETS, ids=lambda command: command.name)
def test_every_command_says_that_it_has_no_permission_in_one_line(command, tmp_path):
    dataset = tmp_path / "films"
    mn.RecordsMmap.from_columns(dataset, {"text": ["a", "b"], "label": [0, 1]}).close()
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    for file in dataset.iterdir():
        file.chmod(0)
    words = words_for(command, dataset, tmp_path / "out")

    code, out, err = as_nobody(lambda: tuple(run(*words)))

    if command.name == "doctor":
        assert (code, "no permission to read" in out) == (1, True)
        return
    assert (code, out) == (2, "")
    assert err.startswith(f"mmap-ninja: {dataset}/COMMIT: ")
    assert err.count("\n") == 1


def test_help_lists_all_commands_in_sections():
    ended = run("--help")

    titles = re.findall(r"^(\w+):$", ended.out, re.MULTILINE)
    assert [title for title in titles if title not in ("Example", "Options")] == list(SECTIONS)
    assert re.findall(r"^  ([a-z][a-z-]+)  ", ended.out, re.MULTILINE) == [command.name for command in COMMANDS]
    assert run().out == ended.out
    assert run().code == 0


def test_help_loads_neither_numpy_nor_the_kernel():
    code = (
        "import sys; from mmap_ninja.cli.main import cli; cli(['-h'], standalone_mode=False); print('!', *sys.modules)"
    )

    loaded = (
        subprocess.run([COMMAND[0], "-c", code], capture_output=True, text=True, check=True)
        .stdout.split("!")[-1]
        .split()
    )

    assert "mmap_ninja.cli.main" in loaded
    assert not {"numpy", "tqdm", "mmap_ninja._kernel"} & set(loaded)


def test_help_takes_less_than_150_ms_of_the_processor():
    def spent():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(spent() for _ in range(5)) < 0.15


def test_version_is_that_of_the_package():
    assert run("--version").out == f"mmap-ninja {mn.__version__}\n"


@pytest.mark.parametrize(
    ("word", "meant"), [("virify", "verify"), ("heads", "head"), ("rename_column", "rename-column")]
)
def test_misspelt_command_is_suggested(word, meant):
    ended = run(word, "reviews_mmap")

    assert ended.code == 2
    assert ended.err.endswith(f"Error: No such command {word!r}. Did you mean {meant!r}?\n")


def test_word_that_is_like_no_command_is_an_unknown_command():
    assert run("help").err.endswith("\nError: No such command 'help'.\n")


def test_usage_errors_end_with_2():
    assert [run("head").code, run("verify", "x", "--level", "half").code, run("nonsense").code] == [2, 2, 2]


@pytest.mark.parametrize("words", [["--debug", "head", "missing"], ["head", "missing", "--debug"]])
def test_debug_shows_the_traceback_before_and_after_the_command(words):
    ended = process(*words)

    assert ended.code == 2
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert "NotADatasetError" in ended.err
    assert "Traceback" not in run("head", "missing").err


def test_names_in_errors_cannot_control_a_terminal(tmp_path):
    (tmp_path / "other").mkdir()

    ended = run("head", tmp_path / "other\x1b[2J")

    assert ended.err.startswith(f"mmap-ninja: {tmp_path}/other\\x1b[2J: no such directory")


def test_incomplete_dataset_is_shown_with_a_warning_of_one_line(tmp_path):
    def texts():
        yield "one"
        raise KeyError("source")

    with pytest.raises(KeyError):
        mn.StringsMmap.from_generator(tmp_path / "texts", texts(), batch_size=1)

    ended = run("head", tmp_path / "texts")

    assert (ended.code, ended.out) == (0, "0  one\n")
    assert ended.err.startswith(f"warning: {tmp_path}/texts: the build of this dataset has not ended; ")
    assert ended.err.endswith("continue it with mmap-ninja convert --resume\n")
    assert ended.err.count("\n") == 1


def test_error_without_a_meaning_for_users_names_its_type(monkeypatch):
    def fail(*_):
        raise AttributeError("no attribute")

    monkeypatch.setattr(mn, "open", fail)

    assert run("head", "x").err == "mmap-ninja: unexpected AttributeError: no attribute; --debug shows where\n"


def test_interrupt_that_an_import_makes_an_error_of_is_one(monkeypatch):
    def fail(*_):
        raise ImportError("Encountered an error while initializing the extension.") from KeyboardInterrupt()

    monkeypatch.setattr(mn, "open", fail)

    with pytest.raises(click.Abort):
        cli.main(["head", "x"], standalone_mode=False)


def test_damage_is_told_with_the_command_for_it(texts):
    (texts / "COMMIT").write_bytes(b"damaged")

    assert run("head", texts).err.endswith("; restore it from a copy, or save what is left: mmap-ninja recover\n")


def test_colors_only_on_terminals_and_without_no_color(monkeypatch):
    shown = []
    monkeypatch.setattr(click, "echo", lambda text="", **_: shown.append(click.get_current_context().color))

    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        cli.main([], standalone_mode=False)

    assert set(shown) == {None, False}


# ---- signals and pipes


@pytest.fixture
def texts(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "texts", [f"sample {i:060}" for i in range(20_000)]).close()
    return tmp_path / "texts"


def test_reader_that_ends_early_ends_the_command_quietly(texts):
    ended = script(f"mmap-ninja head {texts} -n 20000 | head -1; echo ${{PIPESTATUS[0]}}")

    assert ended.out.splitlines() == [f"    0  sample {0:060}", "141"]
    assert ended.err == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mmap-ninja --help | true; echo ${PIPESTATUS[0]}", "141"),
        ("mmap-ninja head {texts} -n 1 >&-; echo $?", "0"),
        ("mmap-ninja head {texts} -n 1 2>&- >/dev/null; echo $?", "0"),
        ("mmap-ninja head missing 2>&-; echo $?", "2"),
        ("(mmap-ninja head missing 2>&1 >&3 | true; echo ${PIPESTATUS[0]}) 3>&1", "2"),
    ],
)
def test_streams_that_are_closed_or_broken_are_no_traceback(texts, line, expected):
    ended = script(line.replace("{texts}", str(texts)))

    assert (ended.out.split()[-1:], ended.err) == ([expected], "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_for_the_output_is_an_error(texts):
    ended = script(f"mmap-ninja head {texts} > /dev/full")

    assert (ended.code, ended.err) == (2, "mmap-ninja: No space left on device\n")


def test_paths_that_stdout_cannot_encode_are_escaped(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "日本", ["good"]).close()

    ended = process("verify", tmp_path / "日本", env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{tmp_path}/\\u65e5\\u672c: 1 sample, ")


def test_descriptors_that_are_closed_are_not_those_of_the_dataset(texts):
    code = "from mmap_ninja.cli import main; main._fill_standard_descriptors(); import os; print(os.open('.', 0))"

    ended = script(f'{COMMAND[0]} -c "{code}" <&- 2>&-')

    assert int(ended.out) > 2


def test_interrupt_while_modules_are_imported_ends_with_130_and_one_line(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")

    ended = process("--help", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert ended == (130, "", "mmap-ninja: interrupted\n")


def test_interrupt_ends_with_130_and_one_line(texts, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    started = subprocess.Popen(
        [*COMMAND, "set-metadata", str(texts), f"@{tmp_path}/fifo"], stderr=subprocess.PIPE, text=True
    )
    with open(tmp_path / "fifo", "w"):  # waits until the command reads it
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)

    assert (started.returncode, err.strip()) == (130, "mmap-ninja: interrupted")

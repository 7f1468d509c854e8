"""Completion in shells, as their users get it by the Tab key."""

import shutil

import pytest

import mmap_ninja as mn
from support.shell import Terminal, run, script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_calls_the_command(shell):
    ended = run("completion", shell)

    assert ended.code == 0
    assert f"_MMAP_NINJA_COMPLETE={shell}_complete" in ended.out


def test_unknown_shell_is_a_usage_error():
    assert run("completion", "cmd").code == 2


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ver", {"verify"}),
        ("re", {"recover", "rename-column"}),
        ("verify --le", {"--level"}),
        ("verify --level ", {"quick", "sums", "full"}),
        ("completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes_commands_and_options(typed, expected):
    words = ["mmap-ninja", *typed.split(" ")]
    listed = " ".join(f"'{word}'" for word in words)
    line = (
        'eval "$(mmap-ninja completion bash)"; '
        f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _mmap_ninja_completion mmap-ninja; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    ended = script(line)

    assert set(ended.out.split()) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_paths_at_the_tab_key(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "reviews_mmap", ["good"]).close()
    with Terminal(["bash", "--norc", "--noprofile", "-i"], tmp_path) as terminal:
        terminal.type("PS1='ready> '; eval \"$(mmap-ninja completion bash)\"\n")
        assert terminal.wait_for("\nready> ", "hready> ")

        terminal.type("mmap-ninja head rev\t")

        assert terminal.wait_for("mmap-ninja head reviews_mmap/", "mmap-ninja head reviews_mmap ")

"""Text files: folders of them, and files with a sample a line."""

import os
import time

import pytest

import mmap_ninja as mn
from mmap_ninja.conversion.files import Files, files_below


def written(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_folder_is_sorted_by_path_without_hidden_and_other_files(tmp_path):
    names = ["b.txt", "a/z.txt", "a-b.txt", "a.txt", "a/b/c.TXT", "c/.hidden.txt", ".git/x.txt", "c/notes.md", "ä.txt"]
    source = written(tmp_path / "source", {name: name.encode() for name in names})

    made = mn.convert(source, tmp_path / "out")

    assert list(made) == sorted(["b.txt", "a/z.txt", "a-b.txt", "a.txt", "a/b/c.TXT", "ä.txt"])


def test_folder_with_path_is_records(tmp_path):
    source = written(tmp_path / "source", {"pos/1.txt": b"good", "neg/1.txt": b"bad"})

    made = mn.convert(source, tmp_path / "out", with_path=True)

    assert list(made) == [{"text": "bad", "path": "neg/1.txt"}, {"text": "good", "path": "pos/1.txt"}]


@pytest.mark.parametrize(
    ("kind", "sample"), [("strings", "a\r\nb"), ("bytes", b"\xef\xbb\xbfa\r\nb"), ("records", {"text": "a\r\nb"})]
)
def test_file_is_kept_as_it_is_but_for_a_mark_of_utf_8(tmp_path, kind, sample):
    source = written(tmp_path / "source", {"a.txt": b"\xef\xbb\xbfa\r\nb"})

    assert list(mn.convert(source, tmp_path / "out", kind=kind)) == [sample]


def test_large_and_empty_files(tmp_path):
    texts = ["", "x" * (64 << 10), "é" * (40 << 10), "y" * (300 << 10)]
    source = written(tmp_path / "source", {f"{place}.txt": text.encode() for place, text in enumerate(texts)})

    assert list(mn.convert(source, tmp_path / "out")) == texts


def test_loops_of_links_end_and_no_folder_is_read_twice(tmp_path):
    source = written(tmp_path / "source", {"a/1.txt": b"1", "b/2.txt": b"2"})
    (source / "a" / "up").symlink_to("..")
    (source / "b" / "across").symlink_to("../a")
    written(tmp_path / "elsewhere", {"3.txt": b"3"})
    (source / "c").symlink_to(tmp_path / "elsewhere")

    assert list(mn.convert(source, tmp_path / "out")) == ["1", "2", "3"]


def test_pipes_are_left_out_and_broken_links_are_not(tmp_path):
    source = written(tmp_path / "source", {"a.txt": b"a"})
    os.mkfifo(source / "b.txt")

    assert list(mn.convert(source, tmp_path / "out")) == ["a"]

    (source / "c.txt").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"source/c\.txt"):
        mn.convert(source, tmp_path / "out2")


def test_path_that_is_not_utf_8_is_named(tmp_path):
    source = written(tmp_path / "source", {os.fsdecode(b"abc\xe9.txt"): b"a"})

    assert list(mn.convert(source, tmp_path / "out")) == ["a"]
    with pytest.raises(ValueError, match=r"column 'path'"):
        mn.convert(source, tmp_path / "out2", with_path=True)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_workers_give_the_same(tmp_path, n_jobs):
    source = written(tmp_path / "source", {f"{number:04}.txt": b"%d" % number for number in range(1500)})

    assert list(mn.convert(source, tmp_path / "out", n_jobs=n_jobs)) == [str(number) for number in range(1500)]


@pytest.mark.parametrize(
    ("content", "samples"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n\r\nlast", ["a", "b", "", "last"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"a\rb\x0bc\x0cd\xc2\x85e\xe2\x80\xa8f\n", ["a\rb\x0bc\x0cd\x85e\u2028f"]),
        ("日本\nzwölf".encode(), ["日本", "zwölf"]),
    ],
)
def test_lines(tmp_path, content, samples):
    (tmp_path / "source.txt").write_bytes(content)

    assert list(mn.convert(tmp_path / "source.txt", tmp_path / "out")) == samples


def test_line_that_is_not_utf_8_is_named_with_line_and_byte(tmp_path):
    (tmp_path / "source.txt").write_bytes(b"good\nalso\nabc\xe9\nend\n")

    with pytest.raises(ValueError, match=r"source\.txt, line 3: byte 13 is 0xe9: expected text in UTF-8"):
        mn.convert(tmp_path / "source.txt", tmp_path / "out")
    with pytest.warns(UserWarning, match=r"1 sample was left out:\n.*line 3"):
        made = mn.convert(tmp_path / "source.txt", tmp_path / "out", on_error="skip")
    assert list(made) == ["good", "also", "end"]


def test_list_of_files_is_small_and_indexed(tmp_path):
    written(tmp_path, {f"{number}.txt": b"" for number in range(20)})

    files = files_below(tmp_path)

    assert list(files) == sorted(f"{number}.txt" for number in range(20))
    assert files[-1] == "9.txt"
    assert files[1:3] == ["1.txt", "10.txt"]
    assert files.has(".md", ".txt")
    assert list(files.ending("9.txt")) == ["19.txt", "9.txt"]
    assert len(Files.of([])) == 0


def test_listing_many_files_is_fast(tmp_path):
    written(tmp_path, {f"{number // 1000}/{number}.txt": b"" for number in range(2000)})
    files_below.cache_clear()
    began = time.process_time()

    assert len(files_below(tmp_path)) == 2000
    assert time.process_time() - began < 0.2

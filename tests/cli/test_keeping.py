"""Commands that check, repair and change datasets."""

import json

import click
import pytest

import mmap_ninja as mn
from mmap_ninja.cli import asking
from support.golden import GOLDEN, content
from support.shell import run

COUNT = 3000


@pytest.fixture
def texts(tmp_path):
    samples = [f"sample {i:060}" for i in range(COUNT)]
    mn.StringsMmap.from_strings(tmp_path / "texts", samples).close()
    return tmp_path / "texts"


@pytest.fixture
def films(tmp_path):
    columns = {"text": ["a", "b", "c", "d"], "label": [0, 1, 0, 1], "by": ["x", "y", "x", "y"]}
    mn.RecordsMmap.from_columns(tmp_path / "films", columns, metadata={"source": "web"}).close()
    return tmp_path / "films"


@pytest.fixture
def damaged(texts):
    """With a wrong byte in the second block of its samples."""
    data = texts / "c0.data-1"
    content = bytearray(data.read_bytes())
    content[70_000] ^= 1
    data.write_bytes(content)
    return texts


@pytest.fixture
def answered(monkeypatch):
    """Answers to questions, as at a terminal."""

    def answer(says):
        monkeypatch.setattr(asking, "_is_terminal", lambda: True)
        monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text) or says)

    asked = []
    answer.asked = asked
    return answer


# ---- verify, recover


@pytest.mark.parametrize("level", ["quick", "sums", "full"])
def test_verify_of_an_intact_dataset_prints_the_report(texts, level):
    ended = run("verify", texts, "--level", level)

    assert ended == (0, f"{texts}: {COUNT:,} samples, no problems at level {level!r}\n", "")


def test_verify_of_a_damaged_dataset_ends_with_1_and_names_the_samples(damaged):
    ended = run("verify", damaged)

    assert ended.code == 1
    assert ended.out == f"{mn.verify(damaged)}\n"
    assert "hits samples" in ended.out
    assert ended.err == f"to save what is left: mmap-ninja recover {damaged} OUT\n"


def test_verify_as_json_is_the_report(damaged):
    ended = run("verify", damaged, "--json")

    (problem,) = mn.verify(damaged).problems
    assert ended.code == 1
    assert json.loads(ended.out) == {
        "path": str(damaged),
        "level": "sums",
        "ok": False,
        "samples": COUNT,
        "problems": [
            {
                "file": "c0.data-1",
                "message": problem.message,
                "blocks": [1, 2],
                "samples": [[problem.samples[0].start, problem.samples[0].stop]],
            }
        ],
        "notes": [],
    }


def test_recover_saves_what_is_left_and_says_what_is_lost(damaged, tmp_path):
    lost = mn.verify(damaged).problems[0].samples[0]

    ended = run("recover", damaged, tmp_path / "saved", "--keep", "intact")

    kept = COUNT - len(lost)
    assert ended.code == 1
    assert ended.out.endswith(
        f"{tmp_path}/saved: {kept:,} samples saved, {len(lost):,} lost: {lost.start} to {lost[-1]}\n"
    )
    assert len(mn.open(tmp_path / "saved")) == kept
    assert not mn.verify(damaged).ok


def test_recover_of_an_intact_dataset_ends_with_0(texts, tmp_path):
    ended = run("recover", texts, tmp_path / "saved", "--json")

    told = json.loads(ended.out)
    assert (ended.code, told["samples"], told["lost"], told["report"]["ok"]) == (0, COUNT, [], True)


def test_recover_refuses_a_dataset_at_out(damaged, films):
    said = f"mmap-ninja: {films}: a dataset already exists; choose another path\n"

    assert run("recover", damaged, films) == (2, "", said)


def test_command_that_is_suggested_is_quoted(damaged, tmp_path):
    damaged.rename(tmp_path / "my texts")

    assert run("verify", tmp_path / "my texts").err == (
        f"to save what is left: mmap-ninja recover '{tmp_path}/my texts' OUT\n"
    )


def test_recover_in_place_of_a_missing_path_asks_nothing(tmp_path):
    ended = run("recover", tmp_path / "missing")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"mmap-ninja: {tmp_path}/missing: no such directory; check the path")


def test_recover_in_place_asks(damaged, answered):
    assert run("recover", damaged).code == 2
    answered(False)
    assert run("recover", damaged) == (2, "", "nothing was changed\n")
    assert not mn.verify(damaged).ok

    answered(True)
    ended = run("recover", damaged, "--keep", "readable")

    assert (ended.code, mn.verify(damaged).ok, len(mn.open(damaged))) == (0, True, COUNT)
    assert answered.asked == [f"{damaged}: what is damaged will be removed. Go on?"] * 2


# ---- compact, upgrade


def test_compact_frees_the_space_of_deleted_samples(texts):
    with mn.open(texts) as dataset:
        del dataset[1000:]
        garbage = dataset.garbage

    ended = run("compact", texts)

    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"{texts}: {garbage / 1000:.3g} kB freed\n"
    assert mn.open(texts).garbage == 0


def test_upgrade_asks_only_for_directories_of_0x(copy, texts, answered):
    old = copy("0.9.0-strings")
    expected = list(mn.open(old))

    assert run("upgrade", texts).code == 0
    refused = run("upgrade", old)
    assert refused.code == 2
    assert "mmap_ninja 0.x will not be able to read it any more; without a terminal" in refused.err
    assert run("upgrade", old, "--yes").code == 0

    assert mn.verify(old).notes == ()
    assert list(mn.open(old)) == expected
    assert answered.asked == []


@pytest.mark.parametrize("words", [["compact"], ["set-metadata", "a=1"]])
def test_changes_do_not_upgrade_a_directory_of_0x(copy, words):
    old = copy("0.9.0-strings")
    before = content(old)

    ended = run(words[0], old, *words[1:])

    assert ended.code == 2
    assert ended.err == f"mmap-ninja: {old}: was written by mmap_ninja 0.x; run `mmap-ninja upgrade` on it first\n"
    assert content(old) == before


# ---- merge, split


def test_merge_joins_datasets_in_their_order(tmp_path):
    for name in "ab":
        mn.StringsMmap.from_strings(tmp_path / name, [name, name * 2]).close()

    ended = run("merge", tmp_path / "b", tmp_path / "a", tmp_path / "both")

    assert ended == (0, "", f"{tmp_path}/both: 4 samples\n")
    assert list(mn.open(tmp_path / "both")) == ["b", "bb", "a", "aa"]


def test_merge_replaces_only_when_told_and_asks(texts, tmp_path, answered):
    mn.StringsMmap.from_strings(tmp_path / "out", ["old"]).close()

    refused = run("merge", texts, tmp_path / "out")
    unasked = run("merge", texts, tmp_path / "out", "--if-exists", "replace")
    answered(True)
    done = run("merge", texts, tmp_path / "out", "--if-exists", "replace")

    assert (refused.code, unasked.code, done.code) == (2, 2, 0)
    assert refused.err.endswith("a dataset already exists; choose another path, or pass --if-exists replace\n")
    assert answered.asked == [f"{tmp_path}/out: the dataset there will be replaced. Go on?"]
    assert len(mn.open(tmp_path / "out")) == COUNT


def test_split_stores_the_parts_of_the_library(texts, tmp_path):
    train, test = mn.open(texts).split([0.9, 0.1], seed=3)

    ended = run("split", texts, tmp_path / "parts", "train=0.9", "test=.1", "--seed", 3)

    assert ended.code == 0
    assert ended.err == (
        f"{tmp_path}/parts/train: {len(train):,} samples\n{tmp_path}/parts/test: {len(test):,} samples\n"
    )
    assert list(mn.open(tmp_path / "parts/train")) == list(train)
    assert list(mn.open(tmp_path / "parts/test")) == list(test)


def test_split_without_a_seed_cuts_runs(texts, tmp_path):
    run("split", texts, tmp_path, "first=0.25")

    assert list(mn.open(tmp_path / "first")) == list(mn.open(texts)[: COUNT // 4])


def test_split_by_a_column_keeps_its_values_together(films, tmp_path):
    assert run("split", films, tmp_path, "a=0.5", "b=0.5", "--by", "by", "--seed", 0).code == 0

    sides = [set(mn.open(tmp_path / name)["by"]) for name in "ab"]
    assert sides[0] | sides[1] == {"x", "y"}
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "'train': expected NAME=FRACTION"),
        (["train=much"], "'train=much': expected NAME=FRACTION"),
        (["a=0.5", "a=0.5"], "'a=0.5': expected the name of a folder that no other part has"),
        (["../a=0.5"], "'../a=0.5': expected the name of a folder"),
        (["a=0.9", "b=0.9"], "expected numbers of at least 0 that add up to at most 1"),
        (["a=0.9", "--by", "text"], "--by needs a --seed"),
    ],
)
def test_split_refuses_what_is_no_split_and_writes_nothing(films, tmp_path, words, message):
    ended = run("split", films, tmp_path / "parts", *words)

    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "parts").exists()


def test_split_notices_that_out_is_missing(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    ended = run("split", texts, "train=0.9", "test=0.1")

    assert (ended.code, ended.err.splitlines()[-1]) == (
        2,
        "Error: 'train=0.9': expected the folder OUT before the parts",
    )
    assert list(tmp_path.iterdir()) == [texts]


def test_split_stores_no_dataset_in_another(texts, films):
    ended = run("split", texts, films, "train=0.9")

    assert ended.code == 2
    assert ended.err.endswith(f"Error: {films}: is a dataset itself; choose another folder for the parts\n")


def test_split_writes_nothing_if_one_part_exists(texts, tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "parts/test", ["old"]).close()

    ended = run("split", texts, tmp_path / "parts", "train=0.9", "test=0.1")

    assert ended.code == 2
    assert ended.err.startswith(f"mmap-ninja: {tmp_path}/parts/test: a dataset already exists; ")
    assert not (tmp_path / "parts/train").exists()


# ---- columns, metadata


def test_rename_column(films):
    ended = run("rename-column", films, "label", "liked")

    assert ended == (0, "", f"{films}: has the columns text, liked, by\n")
    assert mn.open(films)[1] == {"text": "b", "liked": 1, "by": "y"}


def test_drop_column_asks(films, answered):
    answered(False)
    assert run("drop-column", films, "label").code == 2
    answered(True)

    ended = run("drop-column", films, "label")

    assert ended == (0, "", f"{films}: has the columns text, by\n")
    assert answered.asked == [f"{films}: column 'label' and its files will be removed. Go on?"] * 2
    assert run("drop-column", films, "label", "--yes").err == (
        f"mmap-ninja: {films}: has no column 'label'; it has 'text', 'by'\n"
    )


def test_columns_of_other_kinds_are_refused(texts):
    ended = run("rename-column", texts, "text", "review")

    assert ended.code == 2
    assert ended.err == (
        f"mmap-ninja: {texts}: expected a dataset of kind 'records', found 'strings', which has no columns\n"
    )


def test_set_metadata_sets_keys_and_prints_all(films):
    ended = run("set-metadata", films, "license=CC0", "sizes=[1, 2]", 'text="3"', "equation=a=b")

    expected = {"source": "web", "license": "CC0", "sizes": [1, 2], "text": "3", "equation": "a=b"}
    assert (ended.code, json.loads(ended.out)) == (0, expected)
    assert mn.open(films).metadata == expected


def test_set_metadata_from_a_file_replaces_all_and_asks_if_keys_would_go(films, tmp_path, answered):
    (tmp_path / "card.json").write_text('{"license": "CC0"}')

    assert run("set-metadata", films, f"@{tmp_path}/card.json").code == 2
    answered(True)
    assert run("set-metadata", films, f"@{tmp_path}/card.json").code == 0
    assert run("set-metadata", films, "@-", typed='{"license": "MIT"}').code == 0

    assert answered.asked == [f"{films}: the metadata 'source' will be removed. Go on?"]
    assert mn.open(films).metadata == {"license": "MIT"}


@pytest.mark.parametrize(
    ("words", "typed", "message"),
    [
        (["license"], None, "'license': expected KEY=JSON"),
        (["=1"], None, "'=1': expected KEY=JSON"),
        (["@-", "a=1"], "{}", "expected one @FILE, or KEY=JSON..."),
        (["@-"], "[1]", "-: expected an object of JSON, found list"),
        (["@-"], "{", "-: is not JSON: Expecting property name"),
        (["@missing.json"], None, "missing.json: No such file or directory"),
        (["n=NaN"], None, "nan"),
    ],
)
def test_set_metadata_refuses_what_is_no_metadata(films, words, typed, message):
    ended = run("set-metadata", films, *words, typed=typed)

    assert ended.code == 2
    assert message in ended.err
    assert mn.open(films).metadata == {"source": "web"}


def test_golden_datasets_of_0x_are_verified():
    ended = run("verify", GOLDEN / "0.9.0-strings", "--level", "full")

    assert ended.code == 0
    assert "note: written by mmap_ninja 0.x" in ended.out

"""`stats`: the same numbers as NumPy gives, where they are exact, and what is said where they are not."""

from collections import Counter

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.cli.summaries import DRAWN, MOST_VALUES, Drawn, Frequent, Numbers
from support.golden import GOLDEN, PLAIN
from support.looks import look, look_json


def test_the_screen_of_records(tmp_path):
    columns = {
        "text": mn.Text(nullable=True),
        "label": mn.Scalar("int64"),
        "score": mn.Scalar("float32"),
        "day": mn.Scalar("datetime64[D]"),
        "tokens": mn.Ragged("uint16"),
    }
    ds = mn.RecordsMmap.create(tmp_path / "records", columns)
    ds.extend(
        {
            "text": None if n == 0 else "ab" * (n % 3),
            "label": n // 10,
            "score": np.nan if n == 1 else n / 8,
            "day": np.datetime64("2024-01-01") + n,
            "tokens": np.full(n, n),
        }
        for n in range(21)
    )
    ds.close()

    shown = look("stats", ds.path).replace(str(ds.path), "PATH")

    assert shown.splitlines() == [
        "PATH: 21 samples",
        "",
        "column   missing  different values",
        "text           1                 3",
        "label          0                 3",
        "score   0, 1 NaN                20",
        "day            0                21",
        "tokens         0",
        "",
        "values  min    5%   25%   50%   75%   95%  max   mean",
        "label     0     0     0     1     1     1    2  0.571",
        "score     0  0.25  0.75  1.38  1.88  2.38  2.5   1.31",
        "tokens    1     5    10    14    18    20   20   13.7",
        "",
        "day: 2024-01-01 to 2024-01-21, median 2024-01-11",
        "",
        "lengths           min  5%  25%  50%  75%  95%  max  mean",
        "text, bytes         0   0    0    2    4    4    4   2.1",
        "tokens, elements    0   1    5   10   15   19   20    10",
        "",
        "frequent in text",
        "  7  ab",
        "  7  abab",
        "  6  (empty)",
        "",
        "frequent in label",
        "  10  0",
        "  10  1",
    ]


def test_exact_numbers(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(500, 4)).astype(np.float32)
    path = mn.ArrayMmap.from_ndarray(tmp_path / "array", samples).path

    (column,) = look_json("stats", path)["columns"]

    values = column["values"]
    assert (values["count"], values["min"], values["max"]) == (2000, samples.min(), samples.max())
    assert values["mean"] == pytest.approx(samples.mean(dtype=np.float64))
    expected = np.quantile(samples, [0.05, 0.25, 0.5, 0.75, 0.95], method="nearest")
    assert list(values["quantiles"].values()) == pytest.approx(expected.tolist())
    assert values["quantiles_of"] == 2000


def test_quantiles_of_many_values_are_those_of_a_uniform_sample():
    values = np.random.default_rng(1).permutation(200_000)
    numbers = Numbers()
    for start in range(0, len(values), 3000):
        numbers.add(values[start : start + 3000])

    facts = numbers.facts()

    assert facts["quantiles_of"] == DRAWN
    for share, value in zip((0.05, 0.25, 0.5, 0.75, 0.95), facts["quantiles"].values(), strict=True):
        assert abs(value / 200_000 - share) < 0.02  # 4 standard errors


def test_a_uniform_sample_has_each_value_once():
    drawn = Drawn()
    for start in range(0, 50_000, 999):
        drawn.add(np.arange(start, min(start + 999, 50_000)))

    assert len(np.unique(drawn.values)) == DRAWN


def test_frequent_values_are_exact_while_few_differ():
    values = np.random.default_rng(2).zipf(1.5, 50_000) % MOST_VALUES
    frequent = Frequent()
    for start in range(0, len(values), 1000):
        frequent.add(values[start : start + 1000], np.arange(start, start + 1000))

    counts = Counter(values.tolist())
    assert (frequent.error, frequent.distinct) == (0, len(counts))
    for position, count in frequent.top():
        assert counts[int(values[position])] == count
        assert values.tolist().index(values[position]) == position
    assert [count for _, count in frequent.top()] == [count for _, count in counts.most_common(5)]


def test_frequent_values_among_many_are_found_with_a_bound():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(100_000) < 0.05, 7, np.arange(100, 100_100))
    frequent = Frequent()
    for start in range(0, len(values), 20_000):
        frequent.add(values[start : start + 20_000], np.arange(start, start + 20_000))

    ((position, count),) = frequent.top()

    true_count = int((values == 7).sum())
    assert frequent.distinct is None
    assert values[position] == 7
    assert true_count - frequent.error <= count <= true_count
    assert frequent.error <= len(values) / MOST_VALUES


def test_ids_are_said_to_be_many(tmp_path):
    path = mn.ArrayMmap.from_ndarray(tmp_path / "ids", np.arange(MOST_VALUES + 5)).path

    shown = look("stats", path).replace(str(path), "PATH")

    assert shown.splitlines()[:4] == [
        "PATH: 10,005 samples",
        "",
        "column  missing  different values",
        "sample        0  more than 10,000",
    ]
    assert "quantiles of values: of 10,000 drawn at random" in shown
    assert look_json("stats", path)["columns"][0]["top"] == []


def test_lengths_and_frequent_texts(tmp_path):
    texts = ["yes"] * 5 + ["no"] * 3 + ["e\x1bvil"] * 2 + ["once"]
    path = mn.StringsMmap.from_strings(tmp_path / "texts", texts, zstd_level=3).path

    (column,) = look_json("stats", path)["columns"]

    assert (column["lengths"]["min"], column["lengths"]["max"], column["distinct"]) == (2, 5, 4)
    expected = [("yes", 5), ("no", 3), ("e\x1bvil", 2)]
    assert [(top["value"], top["count"]) for top in column["top"]] == expected
    assert look("stats", path).splitlines()[-4:] == ["frequent in sample", "  5  yes", "  3  no", r"  2  e\x1bvil"]


@pytest.mark.parametrize("kind", ["StringsMmap", "BytesMmap", "ArrayMmap", "RaggedMmap", "RecordsMmap"])
def test_empty_datasets(tmp_path, kind):
    getattr(mn, kind).from_generator(tmp_path / "empty", [])

    assert look("stats", tmp_path / "empty").startswith(f"{tmp_path / 'empty'}: 0 samples\n")
    assert look_json("stats", tmp_path / "empty")["samples"] == 0


@pytest.mark.parametrize("name", [*PLAIN, *(path.name for path in sorted(GOLDEN.glob("format-1-*/")) if path.is_dir())])
def test_all_kinds(name):
    facts = look_json("stats", GOLDEN / name)

    assert facts["samples"] == len(mn.open(GOLDEN / name))
    assert look("stats", GOLDEN / name)


def test_numbers_that_have_no_sum(tmp_path):
    path = mn.ArrayMmap.from_ndarray(tmp_path / "array", np.array([np.inf, -np.inf, 1.0])).path

    values = look_json("stats", path)["columns"][0]["values"]

    assert (values["min"], values["mean"], values["max"]) == ("-Infinity", "NaN", "Infinity")

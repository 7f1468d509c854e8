"""Names with dots: `a.b` is the entry `b` of the dict `a`, wherever the name stands."""

import pyarrow as pa
import pytest

import mmap_ninja as mn
from mmap_ninja import RecordsMmap


def test_dot_in_a_name_nests_wherever_samples_come_from(tmp_path):
    samples = [{"seg.png": b"a", "seg.txt": "t"}, {"seg": {"png": b"b", "txt": "u"}}]
    expected = [{"seg": {"png": b"a", "txt": "t"}}, {"seg": {"png": b"b", "txt": "u"}}]
    columns = {"seg.png": [b"a", b"b"], "seg.txt": ["t", "u"]}

    made = [
        RecordsMmap.from_generator(tmp_path / "generator", samples),
        RecordsMmap.from_indexable(tmp_path / "indexable", samples),
        RecordsMmap.from_columns(tmp_path / "columns", columns),
        RecordsMmap.from_arrow(tmp_path / "arrow", pa.table(columns)),
        RecordsMmap.create(tmp_path / "create", columns={"seg.png": mn.Bytes(), "seg.txt": mn.Text()}),
    ]
    made[-1].extend(samples)

    for records in made:
        assert records.columns == ["seg.png", "seg.txt"]
        assert records[:] == expected
        assert samples[0] in records
        assert RecordsMmap.from_arrow(tmp_path / "again", records.to_arrow())[:] == expected


def test_samples_with_dots_are_appended_and_replace_others(tmp_path):
    records = RecordsMmap.from_generator(tmp_path / "ds", [{"a": {"x": 1, "y": 2}}])

    records.append({"a.x": 3, "a": {"y": 4}})
    records.extend([{"a": {"x": 5}, "a.y": 6}])
    records[0] = {"a.y": 8, "a.x": 7}
    records.add_column("a.z.w", [1, 2, 3])
    records.append({"a": {"z.w": 4, "x": 9}, "a.y": 10})

    assert [(int(s["a"]["x"]), int(s["a"]["y"]), int(s["a"]["z"]["w"])) for s in records] == [
        (7, 8, 1),
        (3, 4, 2),
        (5, 6, 3),
        (9, 10, 4),
    ]


def test_build_of_samples_with_dots_is_resumed(tmp_path):
    def samples(stop):
        yield from ({"a.b": number} for number in range(stop))
        if stop < 6:
            raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        RecordsMmap.from_generator(tmp_path / "ds", samples(4), batch_size=2)
    records = RecordsMmap.from_generator(tmp_path / "ds", samples(6), batch_size=2, if_exists="resume")

    assert records["a.b"][:].tolist() == list(range(6))


def test_keys_with_dots_of_json_values_stay_as_they_are(tmp_path):
    records = RecordsMmap.create(tmp_path / "ds", columns={"j": mn.Json(), "a.b": mn.Text()})

    records.append({"j": {"x.y": {"z.w": 1}}, "a.b": "t"})

    assert records[0] == {"j": {"x.y": {"z.w": 1}}, "a": {"b": "t"}}
    assert {"j": {"x.y": {"z.w": 1}}, "a.b": "t"} in records


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"a.b": 1, "a": {"b": 2}}, "column 'a.b': given twice, nested and with a dot; give it once"),
        ({"a": 1, "a.b": 2}, r"column 'a': is also a group of columns \(a\.…\); choose another name"),
        ({".jpg": 1}, "column '.jpg': has an empty part; expected names separated by single dots"),
    ],
)
def test_names_with_dots_that_contradict_others_are_refused(tmp_path, sample, message):
    records = RecordsMmap.from_generator(tmp_path / "there", [{"a": {"b": 1}}])

    with pytest.raises(ValueError, match=message):
        RecordsMmap.from_generator(tmp_path / "ds", [sample])
    with pytest.raises(ValueError, match=f"sample 1: ({message}|lacks the column 'a')"):
        records.append(sample)
    assert len(records) == 1

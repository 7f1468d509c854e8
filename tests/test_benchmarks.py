"""The benchmark scripts run, on a few samples and without any peer."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
TEXTS = ["plain", "", "café", "two\r\nlines", "★ 10/10", "x" * 3000]
MEASURES = {
    *(
        "iterate",
        "random",
        "batches",
        "jagged",
        "demo",
        "build",
        "build_unsynced",
        "append_1e3",
        "append_1e5",
    ),
    *("open", "pickle", "alternate", "cold_iterate", "cold_batches"),
    *(f"zstd.{measure}" for measure in ("iterate", "random", "batches", "size")),
    *(f"zstd_dictionary.{measure}" for measure in ("iterate", "random", "batches", "size")),
}

ARRAY_MEASURES = {
    *(f"images.{measure}" for measure in ("index_bare", "index", "iterate_bare", "iterate", "batches", "padded")),
    *(f"images.{measure}" for measure in ("build", "build_unsynced", "append_1e3", "append_all", "open", "pickle")),
    *(f"tokens.{measure}" for measure in ("index_bare", "index", "iterate", "batches", "padded", "jagged")),
    *(f"tokens.{measure}" for measure in ("windows", "build", "build_unsynced", "append_1e3")),
    *(f"fixed.{measure}" for measure in ("index_bare", "index", "iterate_bare", "iterate", "batches", "build")),
    *(f"fixed.{measure}" for measure in ("build_unsynced", "build_whole", "append_1e3", "open", "pickle")),
    "trivial.serial",
}
WORKER_MEASURES = {"trivial.jobs2", "memory.small", "memory.large"}

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc")


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, BENCHMARKS / script, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(folder: Path, section: str) -> list[dict]:
    return json.loads((folder / "results.json").read_text())[section]["results"]


def array_results(folder: Path) -> list[dict]:
    return json.loads((folder / "arrays.json").read_text())["results"]


@pytest.fixture
def folder_of_texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts" / "deep"
    folder.mkdir(parents=True)
    for index in range(600):
        (folder / f"{index:03d}.txt").write_bytes(TEXTS[index % len(TEXTS)].encode())
    (folder / "latin1.txt").write_bytes("café".encode("latin-1"))
    return tmp_path / "texts"


def test_bench_strings_measures_our_system(tmp_path: Path, folder_of_texts: Path) -> None:
    output = tmp_path / "output"

    run("bench_strings.py", "--data", folder_of_texts, "--rounds", 1, "--systems", "ours,ram,files,pwrite",
        "--output", output)  # fmt: skip

    found = results(output, "strings")
    assert [result for result in found if "error" in result] == []
    ours = {result["measure"] for result in found if result["system"] == "ours"}
    assert ours == MEASURES
    report = (output / "RESULTS.md").read_text()
    assert "| `for t in texts` vs `bytes.decode()` over a list in RAM | at least 1x | " in report
    assert str(tmp_path) not in report


def test_bench_scaling_then_strings_share_one_report(tmp_path: Path) -> None:
    run("bench_scaling.py", "--sizes", "100,1000", "--systems", "ours", "--output", tmp_path)
    run("bench_strings.py", "--data", "generated", "--samples", 300, "--rounds", 1, "--quick",
        "--systems", "ours", "--measures", "iterate", "--output", tmp_path)  # fmt: skip

    assert [result for result in results(tmp_path, "scaling") if "error" in result] == []
    report = (tmp_path / "RESULTS.md").read_text()
    assert "| 1,000 | ours |" in report
    assert "## Iterate: `for t in texts`" in report


def test_bench_strings_unknown_system_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_strings.py"), "--systems", "ours,nobody"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "'nobody' is unknown (expected some of ours, upstream, " in done.stderr


def test_bench_arrays_measures_our_system(tmp_path: Path) -> None:
    measures = ARRAY_MEASURES | (WORKER_MEASURES if find_spec("cloudpickle") else set())

    run("bench_arrays.py", "--scale", 0.002, "--rounds", 1, "--systems", "ours", "--measures", ",".join(measures),
        "--output", tmp_path)  # fmt: skip

    found = array_results(tmp_path)
    assert [result for result in found if "error" in result] == []
    assert {result["measure"] for result in found} == measures
    report = (tmp_path / "ARRAYS.md").read_text()
    assert "## Token rows: int32, 20 to 380 long" in report
    assert str(tmp_path) not in report


def test_bench_arrays_measures_memory_and_files(tmp_path: Path) -> None:
    measures = "tokens.index,tokens.padded,tokens.jagged,tokens.windows,fixed.iterate_bare,fixed.batches,fixed.open"

    run("bench_arrays.py", "--scale", 0.002, "--quick", "--systems", "ram,memmap", "--measures", measures,
        "--output", tmp_path)  # fmt: skip

    found = {(result["system"], result["measure"]) for result in array_results(tmp_path) if "later" in result}
    assert found == {("memmap", measure) for measure in measures.split(",")} | {
        ("ram", measure) for measure in measures.split(",") if measure not in {"tokens.windows", "fixed.open"}
    }
    assert (
        "| `ArrayMmap.take(256 random)` vs `ndarray[idx]` in RAM | at least 0.9x | not measured"
        in (tmp_path / "ARRAYS.md").read_text()
    )


def test_bench_arrays_compares_parallel_builds_of_jpegs(tmp_path: Path) -> None:
    pytest.importorskip("PIL")

    run("bench_arrays.py", "--scale", 0.01, "--rounds", 1, "--systems", "processes", "--photos", tmp_path,
        "--output", tmp_path)  # fmt: skip

    found = array_results(tmp_path)
    assert [(result["measure"], result["count"]) for result in found] == [("decode.jobs2", 8), ("decode.serial", 8)]


def test_bench_records_measures_our_system(tmp_path: Path) -> None:
    run("bench_records.py", "--scale", 0.002, "--quick", "--systems", "ours", "--output", tmp_path)

    found = json.loads((tmp_path / "records.json").read_text())["results"]
    assert [result for result in found if "error" in result] == []
    assert len({result["measure"] for result in found}) == 27
    report = (tmp_path / "RECORDS.md").read_text()
    assert "| `records[i]`, 4 columns, bare, vs four upstream datasets | at least 20x | not measured" in report
    assert "| random batches of 256, every byte read" in report or "## random batches of 256, every byte read" in report
    assert str(tmp_path) not in report

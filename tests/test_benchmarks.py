"""The benchmarks run, with a few samples and without peers, and the README has the figures of the reports."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
TEXTS = ["plain", "", "café", "two\r\nlines", "★ 10/10", "x" * 3000]

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc")


def python(code: str) -> str:
    """Run code that imports the benchmarks, whose modules are not to be those of the tests."""
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    return done.stdout


# A measurement has a process of its own here, too, but one that is forked: it need not import everything again.
FORKING = """
import multiprocessing, bench, probes, rounds, worker

def run(python, task):
    receiving, sending = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: sending.send(worker.done(task)))
    child.start()
    sending.close()
    return receiving.recv()

forking = multiprocessing.get_context("fork")
rounds.run = run
probes.drop_page_cache = lambda: None  # it is the whole machine's
bench.main()
"""


def bench(*arguments: object, forking: bool = True) -> subprocess.CompletedProcess[str]:
    program = ["-c", FORKING] if forking else [BENCHMARKS / "bench.py"]
    command = [str(part) for part in (sys.executable, *program, *arguments)]
    return subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)


def measured(folder: Path, section: str) -> set[tuple[str, str]]:
    results = json.loads((folder / f"{section}.json").read_text())["results"]
    assert [result for result in results if "error" in result] == []
    return {(result["system"], result["measure"]) for result in results}


@needs_proc
@pytest.mark.parametrize("which", ["each function once", pytest.param("all", marks=pytest.mark.torture)])
@pytest.mark.parametrize("section", ["texts", "scaling", "arrays", "records", "loading", "cold"])
def test_bench_measures_our_system(tmp_path: Path, section: str, which: str) -> None:
    planned = (
        f"from plan import SECTIONS; ours = [m for m in SECTIONS[{section!r}].measures if 'ours' in m.systems];"
        "print(*(f'{m.function}:{m.name}' for m in ours))"
    )
    found = [pair.split(":") for pair in python(planned).split()]
    names = [name for _, name in found] if which == "all" else [*dict(reversed(found)).values()]
    names = [name for name in names if name != "cold.fio" or shutil.which("fio")]

    done = bench(*names, "ours", "--scale", 0.002, "--rounds", 1, "--output", tmp_path)

    assert done.returncode == 0, done.stderr
    assert measured(tmp_path, section) == {("ours", name) for name in names}
    report = next(tmp_path.glob("*.md")).read_text()
    assert "| ours | " in report
    assert "{{" not in report
    assert str(tmp_path) not in report


@needs_proc
def test_bench_measures_memory_and_files(tmp_path: Path) -> None:
    names = ["tokens.index", "tokens.padded", "tokens.jagged", "tokens.windows", "fixed.iterate_bare", "fixed.open"]

    done = bench("ram", "memmap", *names, "--scale", 0.002, "--rounds", 1, "--output", tmp_path)

    assert done.returncode == 0, done.stderr
    of_memory = {("ram", name) for name in names if name not in {"tokens.windows", "fixed.open"}}
    assert measured(tmp_path, "arrays") == of_memory | {("memmap", name) for name in names}
    bar = "| `ArrayMmap.take(256 random)` vs `ndarray[idx]` in RAM | at least 0.9x | not measured"
    assert bar in (tmp_path / "ARRAYS.md").read_text()


@needs_proc
def test_bench_measures_epochs_of_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    systems = ["ours", "ours-dataloader", "ram", "memmap"]

    done = bench("fixed.epoch", "reviews.epoch", *systems, "--scale", 0.002, "--rounds", 1, "--output", tmp_path)

    assert done.returncode == 0, done.stderr
    of_arrays = {(system, "fixed.epoch") for system in ("ours", "ram", "memmap")}
    of_reviews = {(system, "reviews.epoch") for system in ("ours", "ours-dataloader")}
    assert measured(tmp_path, "loading") == of_arrays | of_reviews


# What a loader needs, where that is not only our own build.
LOADERS = {"ours-numpy": "numpy", "ours": "torch", "ours-as-dataset": "torch", "ours-dataloader": "torch",
           "ours-grain": "grain", "memmap": "torch", "ram": "torch", "files": "torch", "spdl": "spdl"}  # fmt: skip


@needs_proc
def test_bench_measures_loaders_that_are_installed(tmp_path: Path) -> None:
    systems = [system for system, module in LOADERS.items() if find_spec(module)]
    subjects = ["train_images", "train_texts", "train_frames", "train_tokens"]

    done = bench(*(f"{subject}.feed" for subject in subjects), *systems, "--scale", 0.002, "--rounds", 1,
                 "--output", tmp_path)  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = measured(tmp_path, "frameworks")
    assert {system for system, _ in found} == set(systems)
    assert {(system, name) for system, name in found if system == "ours-numpy"} == {
        ("ours-numpy", f"{subject}.feed") for subject in subjects
    }
    assert "| ours-numpy | 0 | " in (tmp_path / "FRAMEWORKS.md").read_text()


# What the README claims of us; a probe of a claim that has become wrong fails here.
FEATURES = {
    "Any sample by its position": "yes",
    "A shuffle of all samples": "yes",
    "Exact resume in a shuffled epoch": "yes",
    "Append to a stored dataset": "yes",
    "Replace and delete single samples": "yes",
    "A killed writer loses nothing": "yes",
    "Several processes append, others read": "yes",
    "A damaged byte is found": "yes",
    "Arrays of differing shapes": "yes",
    "Compression": "partly",
    "Decodes JPEG while it reads": r"no\*",
    "Lookup by key": r"no\*",
    "Reads from object stores": r"no\*",
    "Installs on Windows": r"no\*",
}


def answers(page: str) -> dict[str, list[str]]:
    """Return the rows of the feature table by their titles."""
    block = page.split("<!-- features: begin -->")[1].split("<!-- features: end -->", maxsplit=1)[0]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    return {title: cells for title, *cells in rows[1:]}


@pytest.mark.torture  # some hundred processes
def test_features_are_as_claimed_by_probes(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "compare.py", "ours", "--output", tmp_path]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert answers((tmp_path / "FEATURES.md").read_text()) == {row: [cell] for row, cell in FEATURES.items()}, (
        done.stdout
    )


def test_feature_table_answers_every_row_for_every_system() -> None:
    page = (BENCHMARKS / "FEATURES.md").read_text()

    table = answers(page)

    assert {row: cells[0] for row, cells in table.items()} == FEATURES
    assert {len(cells) for cells in table.values()} == {10}
    possible = {answer + star for answer in ("yes", "partly", "no") for star in ("", r"\*")}
    assert {cell for cells in table.values() for cell in cells} <= possible
    assert "the probe failed" not in page


def test_bar_of_skipped_measure_says_why() -> None:
    found = python(
        "from report.tables import bar; from report.figures import Figures\n"
        "skipped = {'system': 'upstream', 'measure': 'cold.draws', 'error': 'skipped: only root can'}\n"
        "figures = Figures({'cold': {'systems': {}, 'results': [skipped]}})\n"
        "print(bar(figures, '>=8x', 'upstream@cold.draws', '/', 'cold.draws'))"
    )

    assert found == "at least 8x | not measured: skipped: only root can | \n"


@needs_proc
def test_bench_folder_of_texts_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "texts" / "deep"
    folder.mkdir(parents=True)
    for index in range(600):
        (folder / f"{index:03d}.txt").write_bytes(TEXTS[index % len(TEXTS)].encode())
    (folder / "latin1.txt").write_bytes("café".encode("latin-1"))

    done = bench("texts.iterate", "texts.jagged", "texts.build", "ours", "ram", "files", "pwrite", "--rounds", 1,
                 "--data", folder.parent, "--output", tmp_path / "output", forking=False)  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "skipping latin1.txt" in done.stdout
    assert {system for system, _ in measured(tmp_path / "output", "texts")} == {"ours", "ram", "files", "pwrite"}
    assert "600 of texts" in (tmp_path / "output" / "RESULTS.md").read_text()


def test_bench_unknown_name_is_refused() -> None:
    done = bench("ours", "texts.nothing")

    assert done.returncode == 2
    assert "'texts.nothing' is unknown (expected a section, subject or system: texts, scaling, " in done.stderr


def test_templates_show_every_measure() -> None:
    planned = "from plan import SECTIONS; print(*(m.name for s in SECTIONS.values() for m in s.measures))"
    shown = "".join(path.read_text() for path in (BENCHMARKS / "templates").glob("*.md"))
    beside = {
        "pickle": "open",
        "open": "build",
        "index": "build",
        "append": "build",
    }  # columns of a table of another one

    missing = [name for name in python(planned).split() if name not in shown]

    assert [name for name in missing if f"{name.split('.')[0]}.{beside.get(name.split('.')[1])}" not in shown] == []


def test_readme_figures_are_those_of_the_reports() -> None:
    page = (ROOT / "README.md").read_text()

    filled = python("import readme, task; print(readme.filled((task.ROOT / 'README.md').read_text()), end='')")

    assert filled == page
    assert filled.count(": begin -->") == 3


def test_plots_show_the_ratios_of_the_reports_fastest_first() -> None:
    shown = 0
    for report in BENCHMARKS.glob("*.md"):
        page = report.read_text()
        for plot in re.findall(r"\]\((plots/[\w-]+\.svg)\)", page):
            drawn = (BENCHMARKS / plot).read_text()
            ratios = re.findall(r"\(([\d.e+]+x)\)", drawn)
            lengths = [int(length) for length in re.findall(r'class="(?:ours|others)".* width="(\d+)"', drawn)]
            assert lengths == sorted(lengths)
            assert [ratio for ratio in ratios if f"| {ratio} |" not in page] == []
            shown += len(ratios)

    assert shown > 100
    assert {file.name for file in (BENCHMARKS / "plots").iterdir()} == set(
        python("from report.plots import PLOTS; print(*PLOTS)").split()
    )

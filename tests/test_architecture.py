"""Imports only point to lower layers, frameworks are not imported, and importing is fast."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja

PACKAGE = Path(mmap_ninja.__file__).parent

# Lower folders first. Within a folder, modules may import each other.
FOLDERS = [
    "columns", "format", "engine", "legacy", "builds", "arrow", "maintenance", "kinds", "loading", "integrations",
    "conversion", "cli",
]  # fmt: skip
BELOW_ALL = ["_kernel", "exported", "errors", "progress"]
INHERITED = ["string", "ragged", "numpy", "generic", "base", "parallel"]
RANKS = {name: rank for rank, name in enumerate([*BELOW_ALL, *FOLDERS])}
RANKS |= dict.fromkeys(INHERITED, len(RANKS)) | {"__init__": len(RANKS) + 1, "__main__": len(RANKS) + 1}
ALLOWED_OUTSIDE = {"click", "cloudpickle", "google", "numpy", "pandas", "pyarrow", "tqdm", "zstandard"}
FRAMEWORKS = {"datasets", "grain", "jax", "numpy", "pyarrow", "torch"}  # of the folder that is made for them
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(PACKAGE).with_suffix(""))


def imports(path):
    """The folders (or top-level modules) of this package that a file imports, and the other packages."""
    own, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "mmap_ninja":
            own |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            head, *rest = node.module.split(".")
            (own if head == "mmap_ninja" else others).add(rest[0] if head == "mmap_ninja" else head)
        elif isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
    return own, others


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    own, others = imports(path)
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here == "cli" or name_of(path) == "kinds/loadable":  # names that they look up in the package when they need them
        others.discard("mmap_ninja")

    assert {name for name in own - {here} if RANKS[name] >= RANKS[here]} == set()
    allowed = FRAMEWORKS if here == "integrations" else ALLOWED_OUTSIDE
    assert others - set(sys.stdlib_module_names) <= allowed


def test_folders_are_the_layers():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(FOLDERS)


@pytest.mark.parametrize("path", sorted((PACKAGE / "format").glob("*.py")), ids=name_of)
def test_format_does_no_io(path):
    _, others = imports(path)

    assert others.isdisjoint({"os", "pathlib", "io", "mmap", "shutil"})


def test_only_progress_imports_tqdm():
    assert [name_of(path) for path in MODULES if "tqdm" in imports(path)[1]] == ["progress"]


def test_only_files_calls_the_kernels_system_calls():
    calls = {
        "open_file", "lock_file", "create_file", "write_at", "copy_range", "sync_data", "open_directory",
        "sync_directory", "make_directory", "rename_file",
        "remove_file", "remove_directory", "set_io_hook",
    }  # fmt: skip

    for path in MODULES:
        used = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_kernel"
        }
        assert name_of(path) == "engine/files" or used.isdisjoint(calls), name_of(path)


def test_the_kernel_imports_nothing_of_the_package():
    for path in (Path(__file__).parents[1] / "kernel").rglob("*.cc"):
        assert "import_(" not in path.read_text(), path.name


def test_mutating_calls_of_the_standard_library_are_not_used():
    forbidden = {"mkdir", "unlink", "rename", "replace", "rmdir", "write_bytes", "write_text", "truncate", "fsync",
                 "pwrite", "link_to", "symlink_to", "touch", "makedirs", "ftruncate"}  # fmt: skip

    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in forbidden, f"{path.name}: os.{node.attr}"


def loaded_by(code, cwd=None):
    """The modules that statements load, without those that NumPy loads."""
    code = f"import sys, numpy; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    return set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=cwd).stdout.split()
    )


def test_import_loads_nothing_but_names():
    code = "import sys, mmap_ninja; print([name for name in sys.modules if name.startswith(('mmap_ninja.', 'numpy'))])"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"


def test_errors_load_no_numpy():
    code = (
        "import sys, mmap_ninja as mn; mn.CorruptDatasetError, mn.IncompleteDatasetWarning;"
        "print([name for name in sys.modules if name.startswith('numpy')])"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"


def test_a_handle_loads_only_what_it_needs():
    """Not the modules for workers, Arrow, declared columns, directories of 0.x and notebooks."""
    others = {"torch", "jax", "pandas", "pyarrow", "IPython", "tqdm", "cloudpickle", "zstandard"}
    rarely = {"socket", "subprocess", "selectors", "hashlib", "html", "mmap_ninja.builds.pool"}
    unused = {"mmap_ninja.columns.specs", "mmap_ninja.kinds.memmaps", "mmap_ninja.kinds.records"}

    loaded = loaded_by("import mmap_ninja; mmap_ninja.StringsMmap")

    assert "mmap_ninja.kinds.strings" in loaded
    assert loaded & (others | rarely | unused) == set()


def test_first_appends_import_nothing_slow(tmp_path):
    """A bug once: NumPy imports masked arrays on first use, which takes longer than a thousand appends."""
    code = (
        "import numpy as np, mmap_ninja as mn;"
        "mn.StringsMmap('texts').append('text'); mn.ArrayMmap('rows').append(np.arange(3));"
        "mn.RaggedMmap('ragged').append(np.arange(3)); mn.RecordsMmap('records').append({'text': '', 'number': 1})"
    )

    assert loaded_by(code, tmp_path) & {"numpy.ma", "tqdm", "socket", "subprocess"} == set()


@pytest.mark.parametrize(
    ("name", "sample", "most"),
    [("StringsMmap", "text", 214), ("BytesMmap", b"bytes", 214), ("ArrayMmap", np.zeros(3), 266)],
)
def test_appends_make_few_calls(tmp_path, name, sample, most):
    """A first append once made 144 calls in this package on an open dataset, and 327 on a missing path."""
    cls = getattr(mmap_ninja, name)
    cls(tmp_path / "other").append(sample)  # imports and one-time costs

    new = own_calls(functools.partial(cls(tmp_path / "new").append, sample))
    dataset = cls(tmp_path / "new")
    first, steady = (own_calls(functools.partial(dataset.append, sample)) for _ in range(2))

    assert (new <= most, first <= 73, steady <= 17) == (True, True, True), (new, first, steady)


def own_calls(act):
    """The number of calls in this package."""
    calls = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            calls.append(frame.f_code)

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return len(calls)


def test_all_is_sorted_and_true():
    assert sorted(mmap_ninja.__all__) == mmap_ninja.__all__
    assert all(hasattr(mmap_ninja, name) for name in mmap_ninja.__all__)
    assert (PACKAGE / "py.typed").exists()


def test_nothing_depends_on_the_time_of_day_or_on_process_ids():
    """Clocks go backwards, and ids are reused: time is only for waiting, and process ids only for messages."""
    sources = [*MODULES, *(Path(__file__).parents[1] / "kernel").rglob("*.cc")]

    for path in sources:
        text = path.read_text()
        for clock in ("time.time", "datetime.now", "CLOCK_REALTIME", "gettimeofday", "system_clock"):
            assert clock not in text, f"{path.name}: {clock}"
    assert {path.name for path in sources if "getpid" in path.read_text()} <= {"forks.cc", "pool.py"}

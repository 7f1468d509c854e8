"""How much the tests notice: changes the library in one place at a time, and runs the tests that reach that place.

The changes are cosmic-ray's. SAMPLE of them are drawn by SEED: first a place, then one of its mutants, so that an
operator that eleven others can replace counts no more than a number. Annotations and names of types are left out.

One run under coverage tells which tests run which lines; what forked processes alone run is not seen. Those of a mutant
are run from fast to slow, one variant of each first, until one fails or SECONDS are spent. Each worker mutates its
own copy of the package, in an environment where the tests, and the processes that they start, can import no other.
"""

import ast
import contextlib
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from difflib import ndiff
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage

FOLDERS = ("columns", "engine", "format", "maintenance")
SAMPLE = 300
SEED = 13
SECONDS = 60.0  # of tests for one mutant, as long as they took under coverage
FIRST = 60  # tests are a run of their own: they import few modules, and most mutants live no longer
SLOWER = 4  # times than without the mutant: it hangs
WORKERS = 2
ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build/mutation"
PACKAGE = Path(find_spec("mmap_ninja").submodule_search_locations[0])


class Mutant(NamedTuple):
    module: str
    line: int
    source: str
    mutated: str

    def __str__(self):
        changes = (line for line in ndiff(self.source.splitlines(), self.mutated.splitlines()) if line[0] in "-+")
        return "\n".join((f"{self.module}:{self.line}", *changes))


def draw():
    chance = random.Random(SEED)
    modules = sorted(str(path.relative_to(PACKAGE)) for folder in FOLDERS for path in (PACKAGE / folder).glob("*.py"))
    candidates = [(module, place) for module in modules for place in places_in((PACKAGE / module).read_text())]
    chance.shuffle(candidates)
    mutants = []
    for module, place in candidates:
        source = (PACKAGE / module).read_text()
        line, operator, occurrence = chance.choice(place)
        mutated = mutate_code(source, get_operator(operator)(), occurrence)
        with contextlib.suppress(SyntaxError):  # the star of `def f(*, a)` is taken for a product
            if ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source)):
                mutants.append(Mutant(module, line, source, mutated))
        if len(mutants) == SAMPLE:
            break
    return mutants


def places_in(source):
    """What can change each place: lists of its line, an operator, and the occurrence of what that looks for."""
    tree, nodes, places = ast.parse(source), list(ast_nodes(get_ast(source))), {}
    types = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    types += [n.value for n in tree.body if isinstance(n, ast.Assign) and not ast.unparse(n.targets[0]).isupper()]
    spans = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in types if n]
    for name in operator_names():
        if not get_operator(name).arguments():
            positions = [at for node in nodes for at in get_operator(name)().mutation_positions(node)]
            for occurrence, (start, end) in enumerate(positions):
                if not any(first <= start and end <= last for first, last in spans):
                    places.setdefault((name.split("Operator_")[0], start), []).append((start[0], name, occurrence))
    return list(places.values())


def lines_of(node):
    starts = [part.lineno for part in (node, *getattr(node, "decorator_list", ())) if hasattr(part, "lineno")]
    return range(min(starts), node.end_lineno + 1) if starts else range(0)


def judged_by(mutant):
    """The lines of which a test must run one to notice a mutant, and whether they run at import."""
    around = [n for n in ast.walk(ast.parse(mutant.source)) if isinstance(n, ast.stmt | ast.ExceptHandler)]
    around = sorted((n for n in around if mutant.line in lines_of(n)), key=lambda node: len(lines_of(node)))
    if any(isinstance(n, ast.FunctionDef) and n.body[0].lineno <= mutant.line for n in around):
        lines, body = lines_of(around[0]), getattr(around[0], "body", None)
        return (range(lines.start, max(lines.start + 1, body[0].lineno)) if body else lines), False
    definitions = [n for n in around if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return lines_of(definitions[0]) if definitions else range(1, mutant.source.count("\n") + 1), True


def make_environment(name):
    """An environment of all that this one has, but with a package of its own; gives that."""
    venv.create(BUILD / name, clear=True, symlinks=True)
    package = BUILD / name / PACKAGE.relative_to(sys.prefix)
    shutil.copytree(PACKAGE, package)
    (package.parent / "others.pth").write_text(f"import site; site.addsitedir({str(PACKAGE.parent)!r})")
    return package


def pytest(package, *arguments, timeout=None, **variables):
    """The exit status, None where it took too long, and what was printed."""
    variables = {"PYTHONPATH": ROOT / "tools", "PYTHONDONTWRITEBYTECODE": 1, "CI": 1, **variables}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            [
                package.parents[3] / "bin/python",
                "-mpytest",
                "-q",
                "-pmutation_plugin",
                "-pno:cacheprovider",
                *arguments,
            ],
            cwd=ROOT,
            env=os.environ | {name: str(value) for name, value in variables.items()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        status = process.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it left behind
        output.seek(0)
        return status, output.read()


def measure(package):
    """The tests that run each line of each module, and the seconds that each test takes."""
    config, data, times = BUILD / "coverage.ini", BUILD / "coverage", BUILD / "times.json"
    config.write_text(
        f"[run]\nsource = {package}\ndata_file = {data}/data\nparallel = true\n"
        "context = ${PYTEST_CURRENT_TEST-}\n"  # in processes that tests start
        "disable_warnings = trace-changed, no-data-collected, module-not-measured, module-not-imported\n"
    )
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    variables = {"COVERAGE_PROCESS_START": config, "MUTATION_TIMES": times}
    _, output = pytest(package, f"-n{WORKERS}", "--dist=worksteal", "--timeout=900", **variables)
    print(output.splitlines()[-1], "while coverage was measured", flush=True)
    coverage = Coverage(config_file=str(config))
    coverage.combine()
    measured = coverage.get_data()
    lines = {
        str(Path(path).relative_to(package)): measured.contexts_by_lineno(path) for path in measured.measured_files()
    }
    return lines, {test: took for test, took in json.loads(times.read_text()).items() if took is not None}


def tests_of(mutant, lines, times):
    """The tests that can notice a mutant, one variant of each first, then the others, from fast to slow."""
    judged, runs_at_import = judged_by(mutant)
    reached = {test for line in judged for test in lines.get(mutant.module, {}).get(line, ())}
    reached = {re.sub(r" \(\w+\)$", "", test) for test in reached}
    tests = sorted(times if runs_at_import else reached & times.keys(), key=times.get)
    fastest = {test.split("[")[0]: test for test in reversed(tests)}
    tests.sort(key=lambda test: (test not in reached, fastest[test.split("[")[0]] != test))
    chosen, left = [], SECONDS
    for test in tests:
        if times[test] < left:
            chosen.append(test)
            left -= times[test]
    return chosen


def outcome(package, mutant, tests, times):
    """What becomes of a mutant, and by which test."""
    module, chosen_tests = package / mutant.module, package.parent / "tests.json"
    module.write_text(mutant.mutated)  # at another time than the compiled one says
    try:
        for chosen in filter(None, (tests[:FIRST], tests[FIRST:])):
            chosen_tests.write_text(json.dumps(chosen))
            limits = [20 + SLOWER * limit for limit in (max(map(times.get, chosen)), sum(map(times.get, chosen)))]
            test_modules = sorted({test.split("::")[0] for test in chosen})
            arguments = "-x", f"--timeout={limits[0]}", *test_modules
            status, output = pytest(package, *arguments, timeout=limits[1], MUTATION_TESTS=chosen_tests)
            if status != 0:
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
                hangs = status is None or "from pytest-timeout" in output
                return "hangs" if hangs else "killed", failed[1] if failed else f"exit status {status}"
        return "survives" if tests else "not reached", f"{len(tests)} tests"
    finally:
        shutil.copy2(PACKAGE / mutant.module, module)


def main():
    packages = [make_environment(str(number)) for number in range(WORKERS)]
    lines, times = measure(packages[0])
    idle = queue.SimpleQueue()
    for package in packages:
        idle.put(package)

    def judge(mutant):
        package = idle.get()
        became, how = outcome(package, mutant, tests_of(mutant, lines, times), times)
        idle.put(package)
        print(f"{became:11} {mutant.module}:{mutant.line}  {how}", flush=True)
        return became

    mutants = draw()
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(judge, mutants))
    for mutant, became in zip(mutants, outcomes, strict=True):
        if became in ("survives", "not reached"):
            print(f"\n{became}: {mutant}")
    print("\n", *(f"{count} {became}" for became, count in Counter(outcomes).most_common()))


if __name__ == "__main__":
    main()

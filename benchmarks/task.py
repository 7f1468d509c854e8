"""One measurement, as the orchestrator hands it to a fresh process and gets it back."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MARKER = "BENCHMARK-RESULT "  # some systems print to stdout themselves
TIMEOUT_SECONDS = 900
# No system may look for updates, report usage or find a GPU while it is timed.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LITDATA_DISABLE_VERSION_CHECK": "1",
    "DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What one process measures."""

    system: str
    measure: str
    corpus: str = ""
    dataset: str = ""
    scratch: str = ""
    later_passes: int = 3
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def run(python: str, task: Task) -> Result:
    """Run one task in a process of its own; a failure is a result, too."""
    command = [python, str(HERE / "measure_one.py"), str(task)]
    cache = task.scratch or str(HERE / ".cache")
    environment = os.environ | QUIET | {"HF_HOME": f"{cache}/huggingface", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no result within {TIMEOUT_SECONDS} s"}
    for line in done.stdout.splitlines():
        if MARKER in line:
            return json.loads(line.split(MARKER, 1)[1])
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return {"error": lines[-1].replace(str(ROOT), ".")[:300]}


def find_pythons(named: list[str]) -> Callable[[str], str | None]:
    """Return a lookup from an environment's name to its interpreter, None where it is not installed.

    Args:
        named: "name=path" pairs that win over the environments that `make bench` makes.
    """
    given = dict(pair.split("=", 1) for pair in named)
    folders = {"bench": ".venv-bench", "upstream": ".venv-bench-upstream", "mds": ".venv-bench-mds"}

    def lookup(environment: str) -> str | None:
        if environment in given:
            return given[environment]
        python = ROOT / folders[environment] / "bin" / "python"
        return str(python) if python.exists() else None

    return lookup

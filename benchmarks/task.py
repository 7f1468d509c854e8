"""One measurement, as the harness hands it to a fresh process and gets it back."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from systems import Store, load

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MARKER = "BENCHMARK-RESULT "  # some systems print to stdout themselves
TIMEOUT_SECONDS = 900
ENVIRONMENTS = {"upstream": ".venv-bench-upstream", "mds": ".venv-bench-mds", "ffcv": ".venv-bench-ffcv"}
# No system may look for updates, report usage or find a GPU while it is timed.
QUIET = {
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "LITDATA_DISABLE_VERSION_CHECK": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What one process measures."""

    system: str
    kind: str  # of data, and so the class of the adapter
    function: str  # the measure, in `measures/`
    folder: str  # where the originals of the run and the datasets of all systems lie
    subject: str  # what is measured of that
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def store(self) -> type[Store]:
        return load(self.system, self.kind)

    @property
    def originals(self) -> Path:
        return Path(self.folder) / "originals" / self.subject

    def samples(self) -> Any:
        """Return the list of samples; those of one shape are one array."""
        return pickle.loads((self.originals / "samples").read_bytes())  # noqa: S301 - our own, a moment old

    @property
    def sums(self) -> np.ndarray:
        return np.load(self.originals / "sums.npy")

    @property
    def dataset(self) -> Path:
        """The dataset that was built of them before all rounds."""
        return Path(self.folder) / self.subject / self.system

    def new_path(self, name: str = "new") -> Path:
        """Return a path at which nothing lies, in a folder that exists."""
        path = Path(self.folder) / name / self.system
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)  # upstream makes the last folder only
        return path

    def limit(self, operation: str) -> int | None:
        """Return how many samples of an operation this system reads at most."""
        limits = [self.store.LIMITS.get(operation), self.options.get("samples")]
        return min((limit for limit in limits if limit is not None), default=None)


def python_of(environment: str) -> str | None:
    """Return the interpreter of an environment, None where it is not installed; ours is this one."""
    if environment == "bench":
        return sys.executable
    python = ROOT / ENVIRONMENTS[environment] / "bin" / "python"
    return str(python) if python.exists() else None


def run(python: str, task: Task) -> Result:
    """Run one task in a process of its own; a failure is a result, too."""
    command = [python, str(HERE / "worker.py"), json.dumps(asdict(task))]
    environment = os.environ | QUIET | {"HF_HOME": f"{task.folder}/huggingface"}
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

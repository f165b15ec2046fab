"""Training that runs out of memory ends in one line and goes on from its last save."""

import os
import pathlib
import subprocess
import sys

import pytest

from bsce_keras import train
from tests.reliability.outcomes import assert_same_outcome, outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = [
    *("--dataset=digits", "--num_base_classes=8", "--num_increments=1", "--epochs=1"),
    *("--batch_size=208", "--exemplars_per_class=8", "--precision=float32"),
    *("--deterministic", "--noexport", "--save_minutes=0"),
]
# From a given save on, the process can map no more memory, as under `ulimit -v`. What
# was free is taken, except for what a message needs.
LIMITED = """
import resource, sys
from bsce_keras import train
from bsce_keras.runtime import array_files

write, left, held = array_files.write, int(sys.argv[1]), []

def write_without_memory(*args):
    global left
    left -= 1
    if left == 0:
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            while True:
                held.append(bytearray(2**16))
        except MemoryError:
            del held[-2:]
    write(*args)

array_files.write = write_without_memory
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Outcome of a run with enough memory."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    assert train.main([*FLAGS, f"--run_dir={run_dir}"]) == 0
    return outcome(run_dir)


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
# The second save of the base step, the save of the base step, a save of the increment.
@pytest.mark.parametrize(
    ("save", "last"),
    [
        (2, "step_00_main_epoch_0000_update_000001"),
        (6, "step_00_main_epoch_0000_update_000005"),
        (8, "step_01_main_epoch_0000_update_000001"),
    ],
)
def test_a_save_without_memory_keeps_the_last_one(save, last, whole, tmp_path):
    limited = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(save), *FLAGS, f"--run_dir={limited}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "bsce_keras" in line]
    assert "memory ran out. Finished work is kept" in line
    saved = {path.stem for path in limited.glob("checkpoints/*.json")}
    assert max(saved) == last
    assert train.main([*FLAGS, f"--run_dir={limited}"]) == 0
    assert_same_outcome(limited, whole)

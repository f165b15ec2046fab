"""One variant in a process of its own: its first update, its speed, its peak memory.

`tools.benchmark` starts it; the last line printed is a JSON object.
"""

import argparse
import dataclasses
import json
import os
import statistics
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from bsce_keras.resources import peak_memory_mb
from tools.benchmark_task import CASES, make_update

NUM_UPDATES = 5


def main():
    """Runs a few updates and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("variant", "kind", "case", "precision"):
        parser.add_argument(name)
    parser.add_argument("batch_size", type=int)
    asked = parser.parse_args()
    case = dataclasses.replace(CASES[asked.case], batch_size=asked.batch_size)
    update = make_update(asked.variant, asked.kind, case, asked.precision)
    done_at = []
    for _ in range(NUM_UPDATES):
        float(update())
        done_at.append(time.time())
    report = {
        "first_update_at": done_at[0],
        "update_seconds": statistics.median(np.diff(done_at)),
        "peak_memory_mb": peak_memory_mb(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

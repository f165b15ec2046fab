"""One variant in a process of its own: when its first update was done, its peak memory.

`tools.benchmark` starts it; the last line printed is a JSON object.
"""

import argparse
import dataclasses
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from tools.benchmark_measure import peak_memory_mb
from tools.benchmark_task import CASES, make_update

NUM_UPDATES = 3


def main():
    """Runs a few updates and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("variant", "kind", "case", "precision"):
        parser.add_argument(name)
    parser.add_argument("batch_size", type=int)
    asked = parser.parse_args()
    case = dataclasses.replace(CASES[asked.case], batch_size=asked.batch_size)
    update = make_update(asked.variant, asked.kind, case, asked.precision)
    float(update())
    report = {"first_update_at": time.time()}
    for _ in range(NUM_UPDATES - 1):
        float(update())
    print(json.dumps({**report, "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()

"""Process that computes the updates of one variant for `tools.benchmark`.

Every answer is a JSON object on a line. The first one is the time at which the first
update was done. For each line with a number on stdin, the answer is the seconds of that
many updates. When stdin ends, the answer is the peak memory. Between two turns the
process is idle.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from bsce_keras.runtime.machine import peak_memory_mb
from tools.benchmark.measure import seconds_of
from tools.benchmark.task import CASES, make_update

# Number of unmeasured updates at the start of a turn. They warm up caches and memory
# after the turns of other variants.
SETTLING = 3


def main():
    """Builds and warms up one variant, then takes turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("variant", "kind", "case", "precision"):
        parser.add_argument(name)
    for name in ("batch_size", "warm_up"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    answers = sys.stdout
    # Output of a framework must not be mixed with answers.
    with contextlib.redirect_stdout(sys.stderr):
        for answer in _serve(asked, sys.stdin):
            print(json.dumps(answer), file=answers, flush=True)


def _serve(asked, turns):
    case = dataclasses.replace(CASES[asked.case], batch_size=asked.batch_size)
    update = make_update(asked.variant, asked.kind, case, asked.precision)
    float(update())
    first_update_at = time.time()
    for _ in range(asked.warm_up):
        float(update())
    yield {"first_update_at": first_update_at}
    for num_updates in turns:
        for _ in range(SETTLING):
            float(update())
        yield {"seconds": seconds_of(update, int(num_updates))}
    yield {"peak_memory_mb": peak_memory_mb()}


if __name__ == "__main__":
    main()

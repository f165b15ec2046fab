"""Runs of the benchmark that take turns, each in its own process.

Thread pools and settings of one variant cannot affect another. Start-up time and peak
memory are those of only one variant.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

from tools.benchmark.measure import Measurement, speeds, take_turns
from tools.benchmark.task import Case, environment

ROOT = pathlib.Path(__file__).parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Run:
    """Update that one process repeats.

    Args:
        variant, kind, precision: arguments of `make_update`.
    """

    variant: str
    kind: str
    precision: str

    @property
    def name(self):
        return f"{self.variant}/{self.kind}/{self.precision}"


def measure_runs(part, case, runs, effort):
    """Measures speed, start-up time and peak memory of runs that are compared.

    All processes exist at the same time, so that they can take turns. About eight of
    them fit into the memory of a common machine. They start one after another, so that
    a start does not affect the others.

    Args:
        part: first part of the names, before the name of the case.
        case: `Case`.
        runs: list of `Run`.
        effort: `Effort`.

    Returns:
        List of `Measurement`: `PART/CASE/RUN`, and the same after `start_up/` and
        `peak_memory/`. The latter two have one sample, because a process starts and
        ends once.

    Raises:
        RuntimeError: a process ended early.
    """
    with contextlib.ExitStack() as stack:
        children = {
            run.name: stack.enter_context(Child(case, run, effort.warm_up))
            for run in runs
        }
        seconds = take_turns(
            {name: child.seconds for name, child in children.items()}, effort
        )
        peaks = {name: child.finish() for name, child in children.items()}
    prefix = f"{part}/{case.name}"
    start_up = [
        Measurement(
            f"start_up/{prefix}/{name}", "s to first update", (child.start_up_seconds,)
        )
        for name, child in children.items()
    ]
    peak_memory = [
        Measurement(f"peak_memory/{prefix}/{name}", "MB", (peak,))
        for name, peak in peaks.items()
    ]
    return speeds(prefix, seconds, case.batch_size) + start_up + peak_memory


class Child:
    """Started and warmed-up process of `tools.benchmark.child`.

    Use it as a context, which ends the process.

    Args:
        case: `Case`.
        run: `Run`.
        warm_up: number of updates after the first one and before the first turn.

    Attributes:
        start_up_seconds: time from the start to the end of the first update.

    Raises:
        RuntimeError: the process ended early. Every method may raise it too.
    """

    def __init__(self, case: Case, run: Run, warm_up):
        self._name = f"{case.name}/{run.name}"
        arguments = [run.variant, run.kind, case.name, run.precision]
        numbers = [str(case.batch_size), str(warm_up)]
        began = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.benchmark.child", *arguments, *numbers],
            cwd=ROOT,
            env={**os.environ, **environment(run.variant)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        try:
            self.start_up_seconds = self._answer()["first_update_at"] - began
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Ends the process if an error kept `finish` from ending it.
        self._process.kill()
        with self._process:
            pass

    def seconds(self, num_updates):
        """Returns the seconds of `num_updates` updates, measured by the process."""
        # `_answer` reports a process that ended.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"%d\n" % num_updates)
        return self._answer()["seconds"]

    def finish(self):
        """Ends the process; returns its peak memory in MB."""
        self._process.stdin.close()
        peak = self._answer()["peak_memory_mb"]
        self._process.wait()
        return peak

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"The process that measures {self._name} ended early, with code "
                f"{self._process.wait()}. Its output above may give the reason. "
                "Without output, the system may have stopped it for lack of memory."
            )
        return json.loads(line)

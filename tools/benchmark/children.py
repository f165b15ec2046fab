"""Runs of the benchmark that take turns, each in a process of its own.

Thread pools and settings of one variant then cannot disturb another, and start-up and
peak memory are those of one variant alone.
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
    """What one process computes, again and again.

    Args:
        variant, kind, precision: as of `make_update`.
    """

    variant: str
    kind: str
    precision: str

    @property
    def name(self):
        return f"{self.variant}/{self.kind}/{self.precision}"


def measure_runs(part, case, runs, effort):
    """Speed, start-up time and peak memory of runs that are compared with each other.

    All processes are there at once, so that they can take turns: about eight of them
    fit into the memory of a common machine. One starts after the other, so that none
    disturbs another's start.

    Args:
        part: the first part of the names, before that of the case.
        case: `Case`.
        runs: list of `Run`.
        effort: `Effort`.

    Returns:
        List of `Measurement`: `PART/CASE/RUN`, and the same after `start_up/` and
        `peak_memory/`, which have one sample, for a process starts and ends once.

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
    """A started and warmed-up process of `tools.benchmark.child`.

    Used as a context, which ends it.

    Args:
        case: `Case`.
        run: `Run`.
        warm_up: updates after the first one and before the first turn.

    Attributes:
        start_up_seconds: from its start to the end of its first update.

    Raises:
        RuntimeError: it ended early; so too from every method.
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
        # After `finish` it has ended already; otherwise nobody wants its answers.
        self._process.kill()
        with self._process:
            pass

    def seconds(self, num_updates):
        """Seconds of that many updates, as the process itself takes the time."""
        # That nobody reads any more is what the missing answer says.
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
                f"{self._process.wait()}. What it printed above says why; if nothing, "
                "the system may have stopped it for want of memory."
            )
        return json.loads(line)

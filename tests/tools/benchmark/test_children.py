"""Processes of the benchmark: one variant each, started one by one, taking turns."""

import argparse
import dataclasses
import io
import pathlib
import re
import time

import pytest

from tools.benchmark import child, children
from tools.benchmark.children import Child, Run, measure_runs
from tools.benchmark.measure import Effort, alternate
from tools.benchmark.task import CASES

CASE = "resnet32@32"
BF16 = "mixed_bfloat16"


def test_workloads_take_turns_and_warm_up_is_not_counted():
    calls = []

    def workload(name):
        calls.append(name)
        return 0.0

    effort = Effort(rounds=2, repeats=2, warm_up=1)
    workloads = {name: lambda name=name: workload(name) for name in "ab"}
    seconds = alternate(workloads, effort)
    assert "".join(calls) == "ab" + "aabb" + "bbaa"
    assert [len(samples) for samples in seconds.values()] == [2, 2]


def test_a_process_computes_only_the_requested_updates(monkeypatch):
    made, updates = [], []

    def make_update(*what):
        made.append(what)
        return lambda: updates.append(1) or 0.5

    monkeypatch.setattr(child, "make_update", make_update)
    asked = argparse.Namespace(
        variant="ours", kind="plain", case=CASE, precision=BF16, batch_size=7, warm_up=2
    )
    answers = child._serve(asked, ["4\n", "1\n"])
    # One update for the start, two to warm up. Every turn has three unmeasured updates
    # and the number of its line.
    counts = [(list(answer), len(updates)) for answer in answers]
    assert counts == [
        (["first_update_at"], 3),
        (["seconds"], 10),
        (["seconds"], 14),
        (["peak_memory_mb"], 14),
    ]
    [(variant, kind, case, precision)] = made
    assert (variant, kind, precision) == ("ours", "plain", BF16)
    assert (case.name, case.batch_size) == (CASE, 7)


def test_runs_start_one_by_one_and_take_turns(monkeypatch):
    happened = []

    class FakeChild:
        start_up_seconds = 8.0

        def __init__(self, case, run, warm_up):
            self.name = run.variant
            happened.append(f"{self.name} starts")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            happened.append(f"{self.name} is gone")

        def seconds(self, num_updates):
            happened.append(f"{self.name} x{num_updates}")
            return num_updates * (0.5 if self.name == "a" else 0.25)

        def finish(self):
            return 900.0

    monkeypatch.setattr(children, "Child", FakeChild)
    runs = [Run("a", "plain", BF16), Run("b", "plain", BF16)]
    measured = measure_runs("part", CASES[CASE], runs, Effort(rounds=2, repeats=5))
    assert happened == (
        ["a starts", "b starts", "a x5", "b x5", "b x5", "a x5"]
        + ["b is gone", "a is gone"]
    )
    medians = {sample.name: sample.median for sample in measured}
    assert medians == {
        f"part/{CASE}/a/plain/{BF16}": CASES[CASE].batch_size / 0.5,
        f"part/{CASE}/b/plain/{BF16}": CASES[CASE].batch_size / 0.25,
        f"start_up/part/{CASE}/a/plain/{BF16}": 8.0,
        f"start_up/part/{CASE}/b/plain/{BF16}": 8.0,
        f"peak_memory/part/{CASE}/a/plain/{BF16}": 900.0,
        f"peak_memory/part/{CASE}/b/plain/{BF16}": 900.0,
    }


@pytest.mark.parametrize(
    ("variant", "setting"), [("ours", "1"), ("ours_onednn_off", "0")]
)
def test_only_the_variant_without_onednn_turns_it_off(variant, setting, monkeypatch):
    environments = []

    class FakeProcess:
        def __init__(self, *_, env, **__):
            environments.append(env)
            self.stdout = io.BytesIO(b'{"first_update_at": 0}')

    monkeypatch.setattr(children.subprocess, "Popen", FakeProcess)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("KEPT", "yes")
    Child(CASES[CASE], Run(variant, "plain", BF16), warm_up=0)
    [environment] = environments
    assert environment["TF_ENABLE_ONEDNN_OPTS"] == setting
    assert environment["KEPT"] == "yes"


def test_a_process_that_ends_early_is_named():
    with pytest.raises(RuntimeError, match=f"{CASE}/unknown/plain/float32 ended early"):
        Child(CASES[CASE], Run("unknown", "plain", "float32"), warm_up=0)


@pytest.mark.slow
def test_a_process_measures_its_own_time_and_memory_and_ends():
    case = dataclasses.replace(CASES[CASE], batch_size=2)
    with Child(case, Run("ours", "plain", "float32"), warm_up=0) as measured:
        began = time.perf_counter()
        seconds = measured.seconds(2)
        waited = time.perf_counter() - began
        peak_before = high_water_mb(measured._process.pid)
        peak = measured.finish()
    # The caller also waits for the unmeasured updates.
    assert 0 < seconds < waited
    # The peak never falls, and only the answer may raise it.
    assert peak_before <= peak < peak_before + 16
    assert measured._process.returncode == 0


def high_water_mb(pid):
    """Returns the peak memory of a process as the kernel counts it."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10

"""The benchmark's tables say what was measured, and its variants build the same net."""

import argparse
import dataclasses
import itertools

import numpy as np
import pytest

from bsce_keras.runtime.machine import peak_memory_mb
from tools import benchmark_child, benchmark_children
from tools.benchmark_children import Child, Run, measure_runs
from tools.benchmark_measure import Effort, Measurement, alternate
from tools.benchmark_table import document, markdown, targets
from tools.benchmark_task import CASES

CASE = "resnet32@32"
BF16 = "mixed_bfloat16"


def made_up():
    """Samples by name, one of each, chosen so that every ratio is a round number."""
    speeds = {
        f"update/{CASE}/ours/plain/float32": 400,
        f"update/{CASE}/ours/plain/{BF16}": 600,
        f"update/{CASE}/stock_keras/plain/float32": 200,
        f"update/{CASE}/torch_nchw/plain/float32": 250,
        f"update/{CASE}/torch_channels_last/plain/float32": 320,
        f"update/{CASE}/torch_channels_last/plain/{BF16}": 500,
        f"train/{CASE}/end_to_end": 95,
        f"train/{CASE}/bare_updates": 100,
    }
    meta = {
        f"meta_update/{CASE}/ours/teacher/float32": 400,
        f"meta_update/{CASE}/ours/closed_form/float32": 100,
        f"meta_update/{CASE}/ours/teacher/{BF16}": 600,
        f"meta_update/{CASE}/ours/closed_form/{BF16}": 120,
    }
    other = {
        f"peak_memory/meta_update/{CASE}/ours/teacher/float32": 1000,
        f"peak_memory/meta_update/{CASE}/ours/closed_form/float32": 1300,
        f"peak_memory/meta_update/{CASE}/ours/nested_tapes/float32": 2000,
        "herding/per_image_loop": 0.05,
        "herding/ours": 0.002,
        "saving/resnet32": 0.12,
        "saving/resnet18": 3.6,
    }
    return speeds | meta | other


def judged(samples):
    return [target.judge(samples) for target in targets(BF16)]


def measured(values):
    return [Measurement(name, "u", (value,)) for name, value in values.items()]


def test_every_target_is_the_ratio_its_name_says():
    expected = {
        "update, float32: ours / stock Keras float32": 400 / 200,
        "update, mixed_bfloat16: ours / stock Keras float32": 600 / 200,
        # The better layout of the two is the one to beat.
        "update, float32: ours / PyTorch float32, the better layout": 400 / 320,
        "update, mixed_bfloat16: ours / PyTorch bfloat16, channels-last": 600 / 500,
        "update, auto (mixed_bfloat16): ours / PyTorch float32, NCHW": 600 / 250,
        "train end to end / bare update on a constant batch (mixed_bfloat16)": 0.95,
        # Nine plain updates and one that takes 4 (5) times as long.
        "time of an average update, alpha every 10th / plain (float32)": 1.3,
        "time of an average update, alpha every 10th / plain (mixed_bfloat16)": 1.4,
        "extra peak memory of a meta update: closed form / nested tapes": 0.3,
        "herding 20 of 1300 x 512: per-image loop / ours, identical picks": 25,
        # Of the 120 seconds between two saves.
        "a save of resnet32 every 2 minutes / training time": 0.001,
        "a save of resnet18 every 2 minutes / training time": 0.03,
    }
    rows = {row["name"]: row["measured"] for row in judged(made_up())}
    assert rows == pytest.approx(expected)


def test_what_drifts_within_a_run_is_compared_round_by_round():
    """1.5 in two of three rounds; the medians, 24 and 20, would say 1.2."""
    samples = {
        f"update/{CASE}/ours/plain/float32": np.array([30.0, 15.0, 24.0]),
        f"update/{CASE}/stock_keras/plain/float32": np.array([20.0, 10.0, 25.0]),
    }
    [row] = [row for row in judged(samples) if row["measured"] is not None]
    assert row["measured"] == pytest.approx(1.5)


def test_a_target_is_met_on_its_own_side_of_the_bound():
    rows = {row["name"]: row["met"] for row in judged(made_up())}
    missed = [name for name, met in rows.items() if not met]
    assert missed == [
        "update, auto (mixed_bfloat16): ours / PyTorch float32, NCHW",
        "time of an average update, alpha every 10th / plain (mixed_bfloat16)",
        "a save of resnet18 every 2 minutes / training time",
    ]


def test_what_was_not_measured_is_neither_met_nor_missed():
    rows = judged({"herding/per_image_loop": 2.0, "herding/ours": 0.05})
    [herding] = [row for row in rows if row["name"].startswith("herding")]
    assert herding["met"] is True
    others = [row for row in rows if row is not herding]
    assert all(row["measured"] is row["met"] is None for row in others)


def test_the_tables_show_targets_first_and_then_raw_numbers():
    values = {"herding/per_image_loop": 3.0, "herding/ours": 0.2}
    samples = [*measured(values), Measurement("input/x", "images/s", (1, 9, 2))]
    tables = markdown(document(samples, BF16))
    assert (
        "| herding 20 of 1300 x 512: per-image loop / ours, identical picks " in tables
    )
    assert "| 15 | >= 20 | no |" in tables
    assert "| not measured | >= 1.6 |  |" in tables
    assert tables.endswith("| input/x | 2 | 1 | 9 | images/s |")


def test_the_document_names_machine_versions_medians_and_settings():
    result = document([Measurement("a", "s", (3.0, 1.0, 2.0))], BF16, quick=True)
    assert result["measurements"]["a"]["median"] == 2.0
    assert result["settings"] == {"auto_precision": BF16, "quick": True}
    assert result["machine"]["cores"] >= 1
    assert {"cpu", "tensorflow", "keras", "torch"} <= result["machine"].keys()


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


def test_a_process_computes_what_it_is_asked_for_and_no_more(monkeypatch):
    made, updates = [], []

    def make_update(*what):
        made.append(what)
        return lambda: updates.append(1) or 0.5

    monkeypatch.setattr(benchmark_child, "make_update", make_update)
    asked = argparse.Namespace(
        variant="ours", kind="plain", case=CASE, precision=BF16, batch_size=7, warm_up=2
    )
    answers = benchmark_child._serve(asked, ["4\n", "1\n"])
    # One update for the start, two to warm up, and then, every turn, three that are not
    # measured and as many as its line says.
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

    monkeypatch.setattr(benchmark_children, "Child", FakeChild)
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


def test_a_process_that_ends_early_is_named():
    with pytest.raises(RuntimeError, match=f"{CASE}/unknown/plain/float32 ended early"):
        Child(CASES[CASE], Run("unknown", "plain", "float32"), warm_up=0)


@pytest.mark.slow
def test_a_real_process_answers_and_ends():
    case = dataclasses.replace(CASES[CASE], batch_size=2)
    with Child(case, Run("ours", "plain", "float32"), warm_up=0) as child:
        assert child.start_up_seconds > 0
        assert child.seconds(2) > 0
        assert child.finish() > 100


def test_peak_memory_is_that_of_this_process_in_megabytes():
    before = peak_memory_mb()
    # Far more than whatever the peak so far exceeds the present use by.
    size = int(before * 2**20) + 2**26
    assert np.ones(size, np.uint8).sum() == size
    assert peak_memory_mb() >= before + 64


@pytest.fixture(scope="module")
def sizes():
    """Trainable numbers of ResNet-32 with a head for 50 classes, by variant."""
    import keras

    from tools.benchmark_keras import make_classifier, make_stock_model

    models = {
        "ours": make_classifier(CASES[CASE]),
        "stock_keras": make_stock_model(CASES[CASE]),
    }
    kinds = {
        name: [type(layer) for layer in model._flatten_layers()]
        for name, model in models.items()
    }
    assert keras.layers.BatchNormalization in kinds["stock_keras"]
    assert keras.layers.BatchNormalization not in kinds["ours"]
    return {
        name: sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        for name, model in models.items()
    }


def test_stock_keras_has_the_same_network_but_its_own_normalisation(sizes):
    assert sizes["stock_keras"] == sizes["ours"]


def test_pytorch_has_the_same_network(sizes):
    pytest.importorskip("torch")
    from tools.benchmark_torch import resnet32

    assert sum(p.numel() for p in resnet32(50).parameters()) == sizes["ours"]


def test_the_convolutions_measured_are_those_of_the_network():
    from tools.benchmark_bounds import _operations, _shapes

    # ResNet-32: a stem, then 10 convolutions of 3 x 3 a stage. They all multiply as
    # often, but for the two that halve the image, with their shortcuts of 1 x 1.
    stem = 32 * 32 * 9 * 3 * 16
    one = 32 * 32 * 9 * 16 * 16
    shortcut = 16 * 16 * 16 * 32
    multiplications = stem + 28 * one + 2 * (one // 2 + shortcut)
    case = dataclasses.replace(CASES[CASE], batch_size=3)
    shapes = list(_shapes(case))
    assert shapes[0].inputs[0] == 3
    assert sum(map(_operations, shapes)) == 3 * 2 * multiplications


def test_the_per_image_loop_picks_what_herding_picks():
    from bsce_keras.memory import herding
    from tools.benchmark_parts import herding_loop

    features = np.random.default_rng(0).uniform(0.1, 1.0, (60, 5))
    assert herding_loop(features, 20) == herding(features, 20).tolist()


def test_a_smaller_run_does_not_replace_the_committed_numbers():
    from tools.benchmark import _default_output, _parser

    def output(*arguments):
        return _default_output(_parser().parse_args(arguments))

    assert output() == output("--full") == "benchmarks/latest.json"
    for arguments in itertools.chain([["--quick"]], [["--only", "herding"]]):
        assert output(*arguments) is None

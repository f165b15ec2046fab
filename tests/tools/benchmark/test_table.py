"""Targets, tables and the document of a benchmark, from artificial measurements."""

import numpy as np
import pytest

from tools.benchmark.measure import Measurement
from tools.benchmark.table import document, markdown, targets

CASE = "resnet32@32"
BF16 = "mixed_bfloat16"


def made_up():
    """Returns a sample for each name, so that every ratio is a round number."""
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


def test_every_target_is_the_ratio_of_its_name():
    expected = {
        "update, float32: ours / stock Keras float32": 400 / 200,
        "update, mixed_bfloat16: ours / stock Keras float32": 600 / 200,
        # The faster layout of the two is compared.
        "update, float32: ours / PyTorch float32, the better layout": 400 / 320,
        "update, mixed_bfloat16: ours / PyTorch bfloat16, channels-last": 600 / 500,
        "update, auto (mixed_bfloat16): ours / PyTorch float32, NCHW": 600 / 250,
        "train end to end / bare update on a constant batch (mixed_bfloat16)": 0.95,
        # Nine plain updates and one that takes 4 (or 5) times as long.
        "time of an average update, alpha every 10th / plain (float32)": 1.3,
        "time of an average update, alpha every 10th / plain (mixed_bfloat16)": 1.4,
        "extra peak memory of a meta update: closed form / nested tapes": 0.3,
        "herding 20 of 1300 x 512: per-image loop / ours, identical picks": 25,
        # Shares of the 120 seconds between two saves.
        "a save of resnet32 every 2 minutes / training time": 0.001,
        "a save of resnet18 every 2 minutes / training time": 0.03,
    }
    rows = {row["name"]: row["measured"] for row in judged(made_up())}
    assert rows == pytest.approx(expected)


def test_drifting_speeds_are_compared_round_by_round():
    """The ratio is 1.5 in two of three rounds. The medians 24 and 20 would give 1.2."""
    samples = {
        f"update/{CASE}/ours/plain/float32": np.array([30.0, 15.0, 24.0]),
        f"update/{CASE}/stock_keras/plain/float32": np.array([20.0, 10.0, 25.0]),
    }
    [row] = [row for row in judged(samples) if row["measured"] is not None]
    assert row["measured"] == pytest.approx(1.5)


def test_a_target_is_met_on_the_correct_side_of_the_bound():
    rows = {row["name"]: row["met"] for row in judged(made_up())}
    missed = [name for name, met in rows.items() if not met]
    assert missed == [
        "update, auto (mixed_bfloat16): ours / PyTorch float32, NCHW",
        "time of an average update, alpha every 10th / plain (mixed_bfloat16)",
        "a save of resnet18 every 2 minutes / training time",
    ]


def test_a_missing_measurement_is_neither_met_nor_missed():
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

"""Results of the benchmark: targets, Markdown tables and the JSON document."""

import dataclasses
import datetime
import math
import os
from collections.abc import Callable

import numpy as np

from bsce_keras.config import TrainingConfig
from bsce_keras.records.versions import installed, versions

_BF16 = "mixed_bfloat16"


@dataclasses.dataclass(frozen=True)
class Target:
    """Ratio and the bound of its median over all rounds.

    Speeds of one round are compared, because the speed of a machine drifts. Medians of
    two variants may come from different times.

    Args:
        name: description of the ratio, for the table.
        ratio: function from samples by name to ratios. Samples are one a round, or one
            a class for herding. It raises KeyError if a measurement is missing.
        bound: bound of the ratio.
        at_least: True for a lower bound, False for an upper bound.
    """

    name: str
    ratio: Callable
    bound: float
    at_least: bool = True

    def judge(self, samples):
        """Returns a row of the table as a dictionary, with None if not measured.

        Args:
            samples: arrays by name. Arrays of length 1 belong to every round.
        """
        measured = self._median(samples)
        met = None
        if measured is not None:
            met = measured >= self.bound if self.at_least else measured <= self.bound
        sign = ">=" if self.at_least else "<="
        target = f"{sign} {self.bound}"
        return {"name": self.name, "measured": measured, "target": target, "met": met}

    def _median(self, samples):
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                median = float(np.median(self.ratio(samples)))
        except KeyError:
            return None
        return median if math.isfinite(median) else None


def targets(auto_precision, case="resnet32@32"):
    """Returns the targets of the project, for two cores and ResNet-32.

    Args:
        auto_precision: precision that `--precision=auto` selects on this machine.
        case: name of the case that the targets apply to.
    """
    return [
        *_update_targets(auto_precision, case),
        *_meta_targets(case),
        Target(
            "herding 20 of 1300 x 512: per-image loop / ours, identical picks",
            lambda m: m["herding/per_image_loop"] / m["herding/ours"],
            20,
        ),
        *map(_saving_target, ("resnet32", "resnet18")),
    ]


def _update_targets(auto_precision, case):
    """Targets of updates, in ratios of speeds."""

    def speed(samples, variant, precision="float32"):
        return samples[f"update/{case}/{variant}/plain/{precision}"]

    def ours_over_better_torch(samples):
        layouts = [speed(samples, f"torch_{x}") for x in ("nchw", "channels_last")]
        return speed(samples, "ours") / max(layouts, key=np.median)

    def end_to_end(samples):
        part = f"train/{case}"
        return samples[f"{part}/end_to_end"] / samples[f"{part}/bare_updates"]

    return [
        Target(
            "update, float32: ours / stock Keras float32",
            lambda m: speed(m, "ours") / speed(m, "stock_keras"),
            1.6,
        ),
        Target(
            "update, mixed_bfloat16: ours / stock Keras float32",
            lambda m: speed(m, "ours", _BF16) / speed(m, "stock_keras"),
            2.8,
        ),
        Target(
            "update, float32: ours / PyTorch float32, the better layout",
            ours_over_better_torch,
            1.2,
        ),
        Target(
            "update, mixed_bfloat16: ours / PyTorch bfloat16, channels-last",
            lambda m: speed(m, "ours", _BF16) / speed(m, "torch_channels_last", _BF16),
            1.15,
        ),
        Target(
            f"update, auto ({auto_precision}): ours / PyTorch float32, NCHW",
            lambda m: speed(m, "ours", auto_precision) / speed(m, "torch_nchw"),
            2.5,
        ),
        Target(
            f"train end to end / bare update on a constant batch ({auto_precision})",
            end_to_end,
            0.93,
        ),
    ]


def _meta_targets(case):
    """Targets of updates that move alpha, in time and memory."""
    part = f"meta_update/{case}/ours"

    def meta_every_tenth(precision):
        def ratio(samples):
            plain = 1 / samples[f"{part}/teacher/{precision}"]
            meta = 1 / samples[f"{part}/closed_form/{precision}"]
            return (9 * plain + meta) / (10 * plain)

        return ratio

    def extra_memory(samples):
        peak = {
            kind: samples[f"peak_memory/{part}/{kind}/float32"]
            for kind in ("teacher", "closed_form", "nested_tapes")
        }
        extra = peak["nested_tapes"] - peak["teacher"]
        return (peak["closed_form"] - peak["teacher"]) / extra

    return [
        *(
            Target(
                f"time of an average update, alpha every 10th / plain ({precision})",
                meta_every_tenth(precision),
                1.3,
                at_least=False,
            )
            for precision in ("float32", _BF16)
        ),
        Target(
            "extra peak memory of a meta update: closed form / nested tapes",
            extra_memory,
            0.35,
            at_least=False,
        ),
    ]


def _saving_target(backbone):
    """Target of the share of training time that saves take."""
    minutes = TrainingConfig.save_minutes
    return Target(
        f"a save of {backbone} every {minutes:g} minutes / training time",
        lambda m: m[f"saving/{backbone}"] / (60 * minutes),
        0.02,
        at_least=False,
    )


def document(measurements, auto_precision, **settings):
    """Returns all results as one JSON-able dictionary.

    Args:
        measurements: list of `Measurement`.
        auto_precision: see `targets`.
        **settings: further settings of the benchmark, stored as `settings`.
    """
    samples = {measured.name: np.array(measured.samples) for measured in measurements}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": {"auto_precision": auto_precision, **settings},
        "targets": [target.judge(samples) for target in targets(auto_precision)],
        "measurements": {
            measured.name: measured.to_json() for measured in measurements
        },
    }


def machine():
    """CPU, cores and versions."""
    return {**versions(), "torch": installed("torch"), "cores": os.cpu_count()}


def markdown(result):
    """Converts a `document` to two Markdown tables: targets, then raw numbers."""
    targets_table = _table(
        ["what", "measured", "target", "met"],
        [_target_row(row) for row in result["targets"]],
    )
    raw_table = _table(
        ["measurement", "median", "lowest", "highest", "unit"],
        [_raw_row(name, raw) for name, raw in result["measurements"].items()],
    )
    computer = result["machine"]
    head = f"{result['date']}, {computer['cpu']}, {computer['cores']} cores"
    return "\n\n".join([head, targets_table, raw_table])


def _target_row(row):
    if row["measured"] is None:
        return [row["name"], "not measured", row["target"], ""]
    met = "yes" if row["met"] else "no"
    return [row["name"], f"{row['measured']:.3g}", row["target"], met]


def _raw_row(name, raw):
    numbers = raw["median"], min(raw["samples"]), max(raw["samples"])
    return [name, *(f"{number:.4g}" for number in numbers), raw["unit"]]


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

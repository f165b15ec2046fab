"""Benchmark of speed and memory against stock Keras and, if installed, PyTorch.

`make benchmark` runs it. `make benchmark ARGS=--quick` only tests that it works.
Variants take turns, and each computes its updates in its own process. Warm-up is left
out. A ratio is the median over all rounds, so ratios hold on a noisy machine. Absolute
numbers do not. Leave the machine idle otherwise. With GPUs, the same call measures
those.
"""

import argparse
import dataclasses
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from bsce_keras.runtime.tensorflow_import import import_tensorflow

import_tensorflow()  # Uses oneDNN, as `train` does; child processes inherit it.

import tensorflow as tf

from bsce_keras.runtime.devices import limit_threads, resolve_precision
from bsce_keras.runtime.files import write_json
from tools.benchmark.measure import QUICK, Effort
from tools.benchmark.parts import PARTS, Plan
from tools.benchmark.table import document, markdown
from tools.benchmark.task import CASES, installed_variants

DEFAULT_OUTPUT = "benchmarks/latest.json"
QUICK_BATCH_SIZE = 8


def main(argv=None):
    """Measures, prints Markdown tables, writes JSON.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.
    """
    asked = _parser().parse_args(argv)
    plan = _plan(asked)
    _announce(plan)
    # TensorFlow warns about several variants of one function.
    tf.get_logger().setLevel("ERROR")
    limit_threads()  # For the parts that this process computes, as `train` does.
    load_average = os.getloadavg()
    measurements = []
    for name in asked.only or PARTS:
        print(f"{name}: {PARTS[name].__doc__.splitlines()[0]}", file=sys.stderr)
        measurements += PARTS[name](plan)
    result = document(
        measurements,
        plan.auto_precision,
        quick=asked.quick,
        full=asked.full,
        gpus=[gpu.name for gpu in tf.config.list_physical_devices("GPU")],
        load_average_before=load_average,
        effort=dataclasses.asdict(plan.effort),
        batch_sizes={case.name: case.batch_size for case in plan.cases},
    )
    print(markdown(result))
    if asked.quick:
        print("\nA quick run only tests that everything works. Ignore its numbers.")
    output = asked.output or _default_output(asked)
    if output:
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        write_json(output, result)
        print(f"\nwrote {output}")


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmark",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one short round at batch size {QUICK_BATCH_SIZE}, to test that it works",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="ResNet-18 at 64x64 and 224x224 as well",
    )
    parser.add_argument(
        "--rounds",
        type=_positive,
        metavar="N",
        help="number of turns of every variant "
        f"({Effort.rounds}; --quick: {QUICK.rounds})",
    )
    parser.add_argument(
        "--repeats",
        type=_positive,
        metavar="N",
        help="number of updates, or of other measured calls, in a turn "
        f"({Effort.repeats}; --quick: {QUICK.repeats})",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=PARTS,
        help=f"measure only these parts: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"JSON file to write; {DEFAULT_OUTPUT} after a complete run, else none",
    )
    return parser


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, received {text}")
    return number


def _default_output(asked):
    """Returns the default output file, or None for a partial run."""
    return None if asked.quick or asked.only else DEFAULT_OUTPUT


def _plan(asked):
    cases = list(CASES.values())[: None if asked.full else 1]
    if asked.quick:
        cases = [dataclasses.replace(c, batch_size=QUICK_BATCH_SIZE) for c in cases]
    effort = QUICK if asked.quick else Effort()
    return Plan(
        cases=cases,
        variants=installed_variants(),
        auto_precision=resolve_precision("auto"),
        effort=dataclasses.replace(
            effort,
            rounds=asked.rounds or effort.rounds,
            repeats=asked.repeats or effort.repeats,
        ),
    )


def _announce(plan):
    """Warns about missing variants and a busy machine before measuring."""
    if not any(name.startswith("torch") for name in plan.variants):
        print(
            "PyTorch is not installed, so its variants are skipped. To compare with "
            "it: .venv/bin/python -m pip install torch",
            file=sys.stderr,
        )
    load = os.getloadavg()[0]
    if load > 0.5:
        print(
            f"Other processes keep this machine busy (load {load:.1f}). Speeds will be "
            "too low and ratios less certain.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()

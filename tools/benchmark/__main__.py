"""Speed and memory, side by side with stock Keras and, where installed, PyTorch.

`make benchmark` runs it; `make benchmark ARGS=--quick` only tries that it works.
Variants take turns, updates each in a process of its own, warm-up is left out, and a
ratio is the median of those of all rounds, so ratios hold on a noisy machine; absolute
numbers do not.
Leave the machine alone while it runs. On a machine with GPUs the same call measures
these.
"""

import argparse
import dataclasses
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from bsce_keras.runtime.tensorflow_import import import_tensorflow

import_tensorflow()  # With oneDNN, as `train`; the processes of variants inherit it.

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
        argv: arguments without the program's name; those of the process by default.
    """
    asked = _parser().parse_args(argv)
    plan = _plan(asked)
    _announce(plan)
    # TensorFlow takes several variants of one function for a mistake.
    tf.get_logger().setLevel("ERROR")
    limit_threads()  # As `train` does, for the parts that this process computes.
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
        print("\nA quick run shows that everything works; its numbers mean nothing.")
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
        help=f"one short round at batch size {QUICK_BATCH_SIZE}, to try that it works",
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
        help=f"turns of every variant ({Effort.rounds}; --quick: {QUICK.rounds})",
    )
    parser.add_argument(
        "--repeats",
        type=_positive,
        metavar="N",
        help="updates, or what else is measured, a turn "
        f"({Effort.repeats}; --quick: {QUICK.repeats})",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=PARTS,
        help=f"measure these parts alone: {', '.join(PARTS)}",
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
    """Part of the numbers must not take the place of all of them."""
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
    """What will be missing or off, before the wait."""
    if not any(name.startswith("torch") for name in plan.variants):
        print(
            "PyTorch is not installed, so its variants are skipped. To compare with "
            "it: .venv/bin/python -m pip install torch",
            file=sys.stderr,
        )
    load = os.getloadavg()[0]
    if load > 0.5:
        print(
            f"Something else keeps this machine busy (load {load:.1f}). Speeds will be "
            "too low and ratios less sure.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()

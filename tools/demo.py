"""Demonstration on handwritten digits: Balanced Softmax forgets less than softmax.

`make demo` runs it. Three runs in one process share a base step and differ only in the
classification loss. A second call resumes interrupted runs and shows finished ones.
"""

import pathlib
import sys

from bsce_keras.runtime.tensorflow_import import import_tensorflow

import_tensorflow()

import tensorflow as tf

from bsce_keras.data.datasets import load_dataset
from bsce_keras.experiment import run_experiment
from bsce_keras.options.make_config import make_config
from bsce_keras.records.run_records import read_run
from bsce_keras.report import write_report
from bsce_keras.reports.tables import text_table
from bsce_keras.runtime.errors import RequestError, RunError

ROOT = pathlib.Path("runs/demo")
LOSSES = ("softmax", "balanced_softmax", "meta_balanced_softmax")


def main():
    """Trains, compares and reports three runs; returns the exit code."""
    try:
        configs = [_train(loss) for loss in LOSSES]
        runs = [read_run(config.run_dir) for config in configs]
        print(f"\n{text_table(runs)}\n")
        for path in write_report(runs, ROOT / "report"):
            print(f"wrote {path}")
    except (RequestError, RunError) as error:
        print(f"{error}\nTo start anew, rename {ROOT}.", file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    except KeyboardInterrupt as stop:  # `Stopped` has the code of its signal.
        print("Stopped. `make demo` continues from here.", file=sys.stderr)
        return getattr(stop, "exit_code", 130)
    _show_prediction(configs[1])
    return 0


def _train(loss):
    """Trains or resumes one experiment; returns its configuration."""
    config = make_config(
        "digits",
        method="il_baseline",
        classification_loss=loss,
        run_dir=ROOT / loss,
        base_run_dir=None if loss == LOSSES[0] else ROOT / LOSSES[0],
        export_only_last=True,
        seed=1,
    )
    if (ROOT / loss / "summary.json").exists():
        print(f"{ROOT / loss} is finished. To train it again, rename {ROOT}.")
    else:
        print(f"Training with {loss}")
    run_experiment(config)
    return config


def _show_prediction(config):
    """Writes a test image and prints a command that classifies it."""
    test = load_dataset(config.stream, training_images=False).test
    image = ROOT / "report" / f"digit_{test.labels[0]}.png"
    tf.io.write_file(str(image), tf.io.encode_png(test.images[0]))
    model = f"{config.run_dir}/exports/step_{len(config.stream.increments):02d}"
    print("\nTo classify image files with the last step of the balanced run:")
    print(f"  .venv/bin/python -m bsce_keras.predict --model={model} {image}")


if __name__ == "__main__":
    sys.exit(main())

r"""Gradient of alpha at held values: shows the root of the meta objective.

Trains one increment with Meta-Balanced Softmax. Prints mean and deviation of the
gradient of alpha for every value of alpha and every learning rate:

    python -m tools.measure_alpha --visits=60:1,68:0.5,76:0.35,84:0.25,92:0.1 \
        --increment=10 --base_run_dir=BASE --run_dir=RUN --dataset=cifar100

`--visits=EPOCH:VALUE,...` holds alpha at VALUE after EPOCH epochs of the increment, and
at `--alpha` before. Without `--visits`, the other flags decide if alpha is learned or
held. `--increment` is the number of new classes. All other flags are those of
`bsce_keras.train`. A finished run is only read again.
"""

import argparse
import dataclasses
import itertools
import sys

from bsce_keras.evaluation.metrics import pooled_moments
from bsce_keras.options.command_line import flagfile_text
from bsce_keras.options.make_config import make_config
from bsce_keras.options.run_command import run_command
from bsce_keras.runtime.tensorflow_import import import_tensorflow
from bsce_keras.train import train_request

_ROW = "{:<9} {:<8} {:<8} {:<10} {:<10} {:<10} {}"
_HEAD = ("epochs", "alpha", "updates", "rate", "mean", "deviation", "mean / error")


def main(argv=None):
    """Trains or resumes the run and prints the table.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.

    Returns:
        Exit code of `train`.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visits", type=_visits, default=())
    parser.add_argument("--increment", type=int, required=True)
    own, train_arguments = parser.parse_known_args(argv)
    return run_command(
        "train", lambda values, _: _measure(values, own), train_arguments
    )


def visit_rows(line, visits_rate):
    """Returns the rows of the table: successive epochs of one alpha and one rate.

    Args:
        line: line of steps.jsonl of an increment that learned or held alpha.
        visits_rate: function of a 0-based epoch that returns `(value, rate)`: the
            value of a held alpha, None if alpha is learned, and the learning rate.

    Returns:
        List of `(first epoch, last epoch, value, rate, updates, mean, deviation)`.
        Epochs are counted from 1.
    """
    epochs = line["alpha_by_epoch"]
    columns = ("alpha_updates", "alpha_gradient_mean", "alpha_gradient_std")
    rows = []
    numbers = range(len(epochs["alpha"]))
    for (value, rate), group in itertools.groupby(numbers, visits_rate):
        chosen = list(group)
        values = [[epochs[name][epoch] for epoch in chosen] for name in columns]
        moments = pooled_moments(*values)
        rows.append(
            (chosen[0] + 1, chosen[-1] + 1, value, rate, sum(values[0]), *moments)
        )
    return rows


def _measure(values, own):
    request = train_request(values)
    request["classification_loss"] = "meta_balanced_softmax"
    if own.visits:
        request["alpha_optimizer"] = "held"
    config = make_config(**request, increments=[own.increment])
    method = dataclasses.replace(config.method, alpha_visits=own.visits)
    config = dataclasses.replace(config, method=method)
    import_tensorflow()
    from bsce_keras.experiment import run_experiment
    from bsce_keras.optimizers import learning_rate_at
    from bsce_keras.records.run_records import read_run

    run_experiment(config, flagfile=flagfile_text(values))
    line = read_run(config.run_dir).steps[1]
    training = config.training.at_step(1, line["train_images"])
    print(f"\n{_ROW.format(*_HEAD)}")
    for first, last, value, rate, updates, mean, deviation in visit_rows(
        line,
        lambda epoch: (method.held_alpha(epoch), learning_rate_at(training, epoch)),
    ):
        shown = "learned" if value is None else f"{value:g}"
        error = deviation / max(updates, 1) ** 0.5
        numbers = (f"{number:.3g}" for number in (rate, mean, deviation))
        cells = f"{first}-{last}", shown, updates, *numbers
        print(_ROW.format(*cells, f"{mean / error:+.1f}" if error else "-"))
    print(f"alpha at the end: {line['alpha']:.4f}")


def _visits(text):
    """Parses `60:1,80:0.5` to `((60, 1.0), (80, 0.5))`."""
    pairs = [pair.split(":") for pair in text.split(",")]
    return tuple((int(epoch), float(value)) for epoch, value in pairs)


if __name__ == "__main__":
    sys.exit(main())

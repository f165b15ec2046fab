"""`python -m bsce_keras.train`: trains one experiment, a base step and increments."""

import sys

from bsce_keras.options.command_line import flagfile_text, train_request
from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.records.run_folder import check_folders
from bsce_keras.runtime.cluster import read_cluster
from bsce_keras.runtime.tensorflow_import import import_keras


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command(
        "train",
        _train,
        argv,
        check=lambda values, _: request_problems(**train_request(values)),
    )


def _train(values, _):
    config = make_config(**train_request(values))
    is_alone = config.training.strategy != "multi_worker"
    if is_alone:
        # Workers that have not met yet would wait for a chief that ended here.
        check_folders(config)
    # Imported here, so that a wrong request is refused before TensorFlow loads.
    import_keras()
    from bsce_keras.experiment import run_experiment

    run_experiment(config, flagfile=flagfile_text(values))
    if is_alone or read_cluster().is_chief:
        _print_steps(config.run_dir)


def _print_steps(run_dir):
    from bsce_keras.records.run_records import read_run
    from bsce_keras.reports.tables import step_table

    print(f"\n{step_table(read_run(run_dir))}\n\nrun folder: {run_dir}")


if __name__ == "__main__":
    sys.exit(main())

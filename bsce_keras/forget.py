"""`python -m bsce_keras.forget`: an analytic run without some of its classes."""

import contextlib
import dataclasses
import os
import pathlib
import sys

from bsce_keras.options.conflicts import without_effect
from bsce_keras.options.folders import output_problems, writable_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.options.unforgettable import unforgettable_problems
from bsce_keras.options.values import names_of
from bsce_keras.records.recorded_config import recorded_config
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import Problems, RequestError, refuse
from bsce_keras.runtime.tensorflow_import import import_tensorflow
from bsce_keras.runtime.text import listed


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("forget", _forget, argv, _problems)


def _forget(values, _):
    refuse(_problems(values))
    # Imported here, so that problems of the request are reported first.
    import_tensorflow()
    from bsce_keras.forgetting import forget_classes

    names = names_of("--classes", values.classes)
    config = recorded_config(values.run_dir, values.method)
    data_dir = values.data_dir or config.stream.data_dir
    stream = dataclasses.replace(config.stream, data_dir=data_dir)
    config = dataclasses.replace(config, run_dir=values.run_dir, stream=stream)
    output = values.output or _free_folder(values.run_dir)
    record = forget_classes(config, names, output)
    kept = record["class_names"]
    there = holders(values.run_dir, record["forgotten"])
    print(
        f"forgot   {listed(record['forgotten'])}\n"
        f"kept     {len(kept)} classes: {listed(kept)}\n"
        f"export   {os.path.join(output, 'export')}\n"
        "To finish, delete what still holds the forgotten classes in "
        f"{values.run_dir}: {', '.join(there)}"
    )


def holders(run_dir, names):
    """Returns the files and folders of a run that hold classes, earlier outputs too.

    Args:
        run_dir: the run folder.
        names: names of the classes.
    """
    root = pathlib.Path(run_dir)
    places = [root / name for name in ("checkpoints", "exports", "pictures")]
    places.append(root / "report.html")
    for folder in sorted(root.glob("forgotten/*")):
        if not set(names).isdisjoint(_kept(folder, otherwise=names)):
            places.append(folder)
    return [str(place.relative_to(root)) for place in places if place.exists()]


def _kept(output, otherwise):
    """Names of the classes of an output; `otherwise` if its record cannot be read."""
    form = {"class_names": [str]}
    with contextlib.suppress(RequestError):
        record = read_record(output / "forgotten.json", form)
        return otherwise if record is None else record["class_names"]
    return otherwise


def _problems(values, _=None):
    problems = Problems()
    if not values.classes:
        problems.append("--classes=NAME,... is required: the classes to forget.")
    output = values.output
    problems += output_problems(output)
    if output and os.path.isdir(output) and os.listdir(output):
        problems.append(f"{output} is not empty. Name another --output.")
    if not values.run_dir:
        problems.append("--run_dir=RUN is required: a run of --method=acil.")
        return problems
    config = problems.attempt(recorded_config, values.run_dir, values.method)
    if config is None:
        return problems
    # The run is locked while its step is read.
    problems += writable_problems("--run_dir", values.run_dir)
    problems += without_effect(config.stream.dataset, values).values()
    names = values.classes and problems.attempt(names_of, "--classes", values.classes)
    return problems + unforgettable_problems(config, names or ())


def _free_folder(run_dir):
    """Returns the first folder of `RUN/forgotten/` that does not exist yet."""
    number = 1
    while os.path.lexists(path := os.path.join(run_dir, "forgotten", f"{number:02d}")):
        number += 1
    return path


if __name__ == "__main__":
    sys.exit(main())

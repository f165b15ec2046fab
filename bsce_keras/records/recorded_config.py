"""recorded_config(): the configuration that a run folder was trained with.

Imports no TensorFlow.
"""

from bsce_keras.config import ExperimentConfig
from bsce_keras.config.choices import CIFAR
from bsce_keras.config.recorded import from_record
from bsce_keras.methods import recipes
from bsce_keras.methods.own_methods import is_own, know, own_class
from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.errors import RequestError


def recorded_config(run_dir, own_method=None):
    """Returns the `ExperimentConfig` of a run from its config.json.

    Args:
        run_dir: the run folder.
        own_method: method outside this package that trained the run: its class, or
            `"MODULE:CLASS"`. None if it is known, or part of this package.

    Raises:
        RequestError: it is not a run, or one of another version or method.
    """
    record = read_run(run_dir).config
    names = {field for field in record if field in ExperimentConfig.__annotations__}
    method = record["method"]
    if own_method is not None:
        _refuse_other_method(run_dir, method["name"], own_method)
        know(own_method)
    if is_own(method["name"]):
        own_class(method["name"])
    known = type(recipes.parameters(method["name"], CIFAR))
    try:
        parameters = from_record(known, method["parameters"])
        fields = {name: record[name] for name in names}
        fields["method"] = {**method, "parameters": parameters}
        return from_record(ExperimentConfig, fields)
    except (AttributeError, KeyError, TypeError) as error:
        raise RequestError(
            f"{run_dir}/config.json is from another version of bsce_keras or another "
            f"method ({error}). Install the version that its versions.json names, or "
            "pass the class of the method as `method`."
        ) from error


def _refuse_other_method(run_dir, recorded, method):
    """Refuses a method that did not train the run, before it is imported."""
    name = method if isinstance(method, str) else know(method)
    if name != recorded:
        raise RequestError(
            f"--method={name} did not train {run_dir}, but {recorded} did. "
            + ("Give that one." if is_own(recorded) else "Omit --method.")
        )

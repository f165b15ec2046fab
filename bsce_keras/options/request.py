"""Request: the requested values, and the values that follow directly from them.

Imports no TensorFlow.
"""

import collections
import os

from bsce_keras.config import MemoryConfig, MethodConfig
from bsce_keras.config.choices import CROP_FLIP
from bsce_keras.data.given_images import ARRAYS, given_images
from bsce_keras.methods import recipes
from bsce_keras.methods.own_methods import know
from bsce_keras.options.backbone_objects import kept_backbone
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.options.values import plain_values
from bsce_keras.runtime.errors import Problems
from bsce_keras.runtime.text import did_you_mean

# Names of fields by section and by the option that sets the field.
_FIELDS = collections.defaultdict(dict)
for _name, _option in OPTIONS.items():
    if _option.field:
        _section, _, _field = _option.field.rpartition(".")
        _FIELDS[_section][_name] = _field
# Keywords of `make_config` that are named otherwise than their option.
_KEYWORDS = {"parameters": "method_parameters"}


class Request:
    """Requested values, with one attribute for each option of `OPTIONS`.

    None leaves a choice to the data set and the method.

    Args:
        values: plain values by name of an option.
        images: `GivenImages` if the data set is one of arrays.
        refused: names of options whose values were refused, and are None.

    Attributes:
        method_name: requested method, or the default one.
        published: `Published` of the method.
        loss: classification loss, with `default` resolved.
        resolved_run_dir: requested run folder, or one named after the request.
    """

    def __init__(self, values, images=None, refused=()):
        vars(self).update(dict.fromkeys(OPTIONS) | values)
        self.images = images
        self.refused = frozenset(refused)
        self.method_name = self.method or OPTIONS["method"].default
        self.published = recipes.published(self.method_name)
        self.loss = self.classification_loss
        if self.loss in (None, "default"):
            self.loss = self.published.own_loss
        self.resolved_run_dir = self.run_dir or self._default_run_dir()

    def given(self, *names):
        """Returns the named values that were requested, by name."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def fields(self, section):
        """Returns the requested values of the fields of a section, by field.

        Args:
            section: name such as `training`; empty for fields of `ExperimentConfig`
                itself.
        """
        return {
            field: value
            for name, field in _FIELDS[section].items()
            if (value := getattr(self, name)) is not None
        }

    def without(self, name):
        """Returns the same request without the value of one option."""
        values = {key: getattr(self, key) for key in OPTIONS}
        return Request({**values, name: None}, self.images, self.refused)

    def _default_run_dir(self):
        seed = OPTIONS["seed"].default_without_flag if self.seed is None else self.seed
        parts = [self.dataset, _short_name(self.method_name), self.loss]
        if self.replay_sampling not in (None, "uniform"):
            parts.append(self.replay_sampling)
        if self.balanced_finetuning == "true":
            parts.append("finetuned")
        if self.alpha not in (None, MethodConfig.alpha):
            parts.append(f"alpha{self.alpha}")
        if self.exemplars_per_class not in (None, MemoryConfig.exemplars_per_class):
            parts.append(f"{self.exemplars_per_class}exemplars")
        if self.augmentation not in (None, CROP_FLIP):
            parts.append(self.augmentation)
        name = "_".join(map(str, [*parts, f"seed{seed}"]))
        return os.path.join("runs", name.replace(":", "-").replace("/", "-"))


def read_request(values):
    """Checks names and types of the values that a caller of `make_config` passed.

    Args:
        values: values by keyword.

    Returns:
        `(request, problems)`: the `Request` of all valid values, and a sentence for
        each of the others.

    Raises:
        RequestError: the data set is neither a name nor images of the form of
            `given_images`.
    """
    values = {_KEYWORDS.get(name, name): value for name, value in values.items()}
    problems = Problems(
        f"make_config has no option {name!r}.{did_you_mean(name, OPTIONS)}"
        for name in values
        if name not in OPTIONS
    )
    known = {name: value for name, value in values.items() if name in OPTIONS}
    if known.get("method") is not None:
        known["method"] = problems.attempt(know, known["method"])
    data = known["dataset"]
    is_images = not isinstance(data, (str, type(None)))
    if is_images:
        known["dataset"] = ARRAYS
    backbone = known.get("backbone")
    is_object = not isinstance(backbone, (str, os.PathLike, type(None)))
    if is_object:
        known["backbone"] = None
    formats = known.get("export_formats")
    if isinstance(formats, (list, tuple)) and all(isinstance(x, str) for x in formats):
        known["export_formats"] = ",".join(formats)
    plain, wrong = plain_values(OPTIONS, known)
    images = None
    if is_images:
        names = plain.get("class_names")
        images = given_images(data, plain.get("test_data"), names)
    refused = {name for name in plain if plain[name] is None is not known[name]}
    asked = Request(plain, images, refused)
    if is_object:
        run_dir = asked.resolved_run_dir
        asked.backbone = problems.attempt(kept_backbone, backbone, run_dir)
    return asked, problems + wrong


def _short_name(method):
    """Returns the name of a method of one's own without module and outer names."""
    return method.rpartition(":")[2].rpartition(".")[2]

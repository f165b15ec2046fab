"""Hyper-parameters of every method: their meaning, type and range.

Imports no TensorFlow. `recipes` has the published values per kind of data set.
"""

import dataclasses
import math
import typing

from bsce_keras.runtime.errors import refuse
from bsce_keras.runtime.text import did_you_mean

_KEY = "parameter"
# Type of a parameter: its description in messages.
_TYPES = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One hyper-parameter of a method.

    Args:
        name, type: name and type of the field.
        default: default value of the field, `dataclasses.MISSING` without one.
        help: meaning, for `--help`.
        above, least: exclusive or inclusive lower bound, None without one.
        most: inclusive upper bound, None without one.
        choices: values to choose from; empty if the parameter takes any value.
        needs_loss: the only classification loss with which the parameter has an
            effect; empty if it always has one.
        needs: name and value of the only other parameter with which it has an effect;
            empty if it always has one.
    """

    name: str
    type: type
    default: object = dataclasses.MISSING
    help: str = ""
    above: float | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    needs_loss: str = ""
    needs: tuple[str, str] | tuple[()] = ()

    @property
    def expected(self):
        """Expected value, for messages and help."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        text = _TYPES[self.type]
        if self.above is not None:
            text = f"{text} above {self.above}"
        elif self.least is not None:
            text = f"{text} of at least {self.least}"
        return text if self.most is None else f"{text} and at most {self.most}"

    def accepts(self, value):
        """Returns True if a value has the type and the range of the parameter."""
        if self.choices:
            return value in self.choices
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            return False
        if self.type is float and not math.isfinite(value):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )


def parameter(help, default=dataclasses.MISSING, **bounds):
    """Returns a dataclass field with a meaning and bounds, see `Parameter`."""
    metadata = {_KEY: {"help": help, **bounds}}
    return dataclasses.field(default=default, metadata=metadata)


def parameters_of(parameters):
    """Returns the `Parameter`s of a dataclass, or of its instance, by name."""
    own = parameters if isinstance(parameters, type) else type(parameters)
    types = typing.get_type_hints(own)
    return {
        field.name: Parameter(
            field.name, types[field.name], field.default, **field.metadata.get(_KEY, {})
        )
        for field in dataclasses.fields(own)
    }


def changed(parameters, values, method, loss):
    """Returns the hyper-parameters of a method with some of them changed.

    Args:
        parameters: the method's parameters, an instance of a frozen dataclass.
        values: new values by name: numbers, booleans and texts.
        method: name of the method, for messages.
        loss: classification loss of the run.

    Raises:
        RequestError: a name is unknown, a value has another type or range, or it has
            no effect with the loss or with another parameter.
    """
    known = parameters_of(parameters)
    problems, accepted = [], {}
    for name, value in values.items():
        if name not in known:
            problems.append(_unknown_name(name, known, method))
        elif known[name].needs_loss not in ("", loss):
            problems.append(
                f"--method_parameters: {name} of --method={method} has no effect with "
                f"--classification_loss={loss}. Omit it, or omit the loss: the "
                f"method's own is {known[name].needs_loss}."
            )
        elif known[name].type not in _TYPES:
            problems.append(
                f"--method_parameters: {name} of --method={method} cannot be set, "
                f"because it is of type {_type_text(known[name].type)}. Use int, "
                "float, bool or str in the dataclass."
            )
        elif known[name].accepts(value):
            accepted[name] = known[name].type(value)
        else:
            problems.append(_not_accepted(known[name], value, method))
    new = dataclasses.replace(parameters, **accepted)
    for name in accepted:
        other, value = known[name].needs or (name, getattr(new, name))
        if getattr(new, other) != value:
            problems.append(
                f"--method_parameters: {name} of --method={method} has no effect with "
                f"{other}={getattr(new, other)}. Omit it, or use {other}={value}."
            )
    refuse(problems)
    return new


def range_problems(parameters, method):
    """Returns a sentence for each value of a dataclass that its `parameter` refuses.

    Args:
        parameters: instance of a dataclass. Fields made without `parameter` have no
            range.
        method: name of the method, for messages.
    """
    known = parameters_of(parameters)
    return [
        _not_accepted(known[field.name], value, method)
        for field in dataclasses.fields(parameters)
        if _KEY in field.metadata
        and not known[field.name].accepts(value := getattr(parameters, field.name))
    ]


def _not_accepted(parameter, value, method):
    return (
        f"--method_parameters: {parameter.name} of --method={method} must be "
        f"{parameter.expected}. Received: {value!r}"
    )


def _type_text(kind):
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _unknown_name(name, known, method):
    names = f"It has {', '.join(known)}." if known else "It has none."
    return (
        f"--method_parameters: --method={method} has no parameter {name!r}. {names}"
        f"{did_you_mean(name, known)}"
    )


@dataclasses.dataclass(frozen=True)
class NoParameters:
    """Parameters of methods without hyper-parameters of their own."""


_TEMPERATURE = "temperature of the distillation"


@dataclasses.dataclass(frozen=True)
class DistillationParameters:
    """Parameters of logit distillation (Jodelet et al., section 4.1.3)."""

    temperature: float = parameter(_TEMPERATURE, 2.0, above=0)


@dataclasses.dataclass(frozen=True)
class IcarlParameters(DistillationParameters):
    """Parameters of iCaRL: distillation, and views of the exemplars in class means."""

    mirrors_exemplars: bool = parameter(
        "add the mirror image of every exemplar to its class mean", False
    )


@dataclasses.dataclass(frozen=True)
class WaParameters(DistillationParameters):
    """Parameters of WA: distillation, and the restriction of class weights."""

    clips_weights: bool = parameter(
        "set class weights below 0 to 0 after every update", True
    )


@dataclasses.dataclass(frozen=True)
class LucirParameters:
    """Parameters of LUCIR (`run.sh` of the authors' code)."""

    less_forget_weight: float = parameter(
        "weight of the less-forget term, before the factor of the step", least=0
    )
    margin_ranking_weight: float = parameter(
        "weight of the margin ranking", 1.0, least=0
    )
    margin: float = parameter("margin between the cosines", 0.5, least=0)
    top_k: int = parameter(
        "number of new classes that each old image is compared with", 2, least=1
    )


@dataclasses.dataclass(frozen=True)
class MnemonicsParameters(LucirParameters):
    """Parameters of LUCIR and of the exemplar optimisation of `methods.mnemonics`.

    `pixel_passes` is scaled with the schedule, as epochs are, unless it is given.
    Values that the paper leaves out are chosen here, because the released code does not
    train as the paper describes.
    """

    inner_updates: int = parameter(
        "updates of the head on the exemplars, which the pixels are optimised through",
        20,
        least=1,
    )
    inner_learning_rate: float = parameter("learning rate of these", 0.01, above=0)
    pixel_learning_rate: float = parameter("learning rate of pixels", 0.01, above=0)
    pixel_passes: int = parameter(
        "passes over the new images; without the parameter, scaled as epochs are",
        10,
        least=1,
    )
    old_share: float = parameter(
        "updates for each half of the old exemplars, as a share of those for new ones",
        0.2,
        least=0,
    )
    classes_at_once: int = parameter(
        "largest number of classes optimised together, which bounds the memory",
        10,
        least=1,
    )


@dataclasses.dataclass(frozen=True)
class PodnetParameters:
    """Parameters of PODNet (`options/podnet/*.yaml` of the authors' code)."""

    spatial_weight: float = parameter("weight of the distillation of maps", least=0)
    flat_weight: float = parameter("weight of the distillation of features", least=0)
    margin: float = parameter(
        "margin of the method's own loss as in its paper; it cancels in the code",
        0.6,
        least=0,
        needs_loss="nca",
        needs=("nca", "paper"),
    )
    nca: str = parameter(
        "the method's own loss, as in its released code or as in its paper",
        "code",
        choices=("code", "paper"),
        needs_loss="nca",
    )


@dataclasses.dataclass(frozen=True)
class BicParameters(DistillationParameters):
    """Parameters of BiC: distillation, and the penalty on the correction's offset."""

    offset_penalty: float = parameter(
        "factor of the penalty on the offset of the correction", 0.05, least=0
    )


@dataclasses.dataclass(frozen=True)
class TpcilParameters:
    """Parameters of TPCIL. Its code was not released.

    The values are recalled from the paper or chosen here.
    """

    topology_weight: float = parameter(
        "weight of the topology-preserving term; 0 leaves it out", 10.0, least=0
    )
    pairs: str = parameter(
        "all pairs of exemplars that an update draws, or pairs that the graph joins",
        "all_in_batch",
        choices=("all_in_batch", "edges"),
    )
    num_edges: int = parameter(
        "number of edges whose ends every update draws", 64, least=1
    )


@dataclasses.dataclass(frozen=True)
class ImprintParameters:
    """Parameters of weight imprinting; its source has no threshold."""

    recall: float = parameter(
        "share of the training images of a new class that its threshold lets through",
        0.9,
        above=0,
        most=1,
    )


# Ridge of the authors of ACIL; the flagfiles have it.
PUBLISHED_RIDGE = 0.1


@dataclasses.dataclass(frozen=True)
class AcilParameters:
    """Parameters of ACIL (the authors' code)."""

    expansion_size: int = parameter(
        "largest size of the random expansion, which has at most 4 columns for every "
        "image of the base step, but at least 2048",
        8192,
        least=1,
    )
    ridge: float = parameter(
        "number added to the diagonal of the Gram matrix, published with "
        f"{PUBLISHED_RIDGE}; 0 chooses a power of ten from 0.1 to 10000 at the base "
        "step, by leave-one-out errors of its images",
        0.0,
        least=0,
    )
    depths: int = parameter(
        "number of last stages of the backbone whose maps join the features; not in "
        "the published method",
        0,
        least=0,
    )
    mirrored: bool = parameter(
        "features are means over an image and its mirror image; not in the published "
        "method",
        False,
    )
    base_weight: float = parameter(
        "factor of the weights of images of the base step, which trained the backbone",
        1.0,
        above=0,
    )


@dataclasses.dataclass(frozen=True)
class DsalParameters(AcilParameters):
    """Parameters of DS-AL (the authors' code)."""

    compensation: float = parameter(
        "factor of the second stream in the logits", 0.6, least=0
    )
    compensation_ridge: float = parameter(
        "number added to the diagonal of that stream's Gram matrix", 0.1, above=0
    )

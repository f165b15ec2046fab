"""Properties of configuration fields, declared beside each field."""

import dataclasses
import functools
from collections.abc import Callable

_KEY = "setting"


@dataclasses.dataclass(frozen=True)
class Setting:
    """Properties of one field of an `ExperimentConfig`.

    Args:
        default: default value, `dataclasses.MISSING` if the field is required.
        flag: flag of `train` that sets the field. None if several flags, the method or
            the data set it.
        part_flags: flags that set parts of the value, by name of the part.
        needs_loss: the only classification loss with which the value has an effect;
            empty if it always has one.
        decides_outcome: another value changes the results. A run resumes only with the
            value it began with.
        decides_base_step: another value changes the base step, so runs cannot share
            it; `decides_outcome` by default.
        check: one of the checks of `config.checks`, None if every value is valid.
    """

    default: object
    flag: str | None
    decides_base_step: bool
    part_flags: dict[str, str] = dataclasses.field(default_factory=dict)
    needs_loss: str = ""
    decides_outcome: bool = True
    check: Callable | None = None


def setting(default=dataclasses.MISSING, **properties):
    """Returns a dataclass field with these properties, see `Setting`.

    A plain field is set by the flag of its name and decides the outcome of every step.
    """
    return dataclasses.field(default=default, metadata={_KEY: properties})


def settings_by_name(config_class):
    """Returns the `Setting` of every field, by dotted name such as `training.seed`.

    Args:
        config_class: dataclass. Its fields that are dataclasses are its sections.
    """
    found = {}
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            for name, inner in section_settings(field.type).items():
                found[f"{field.name}.{name}"] = inner
        else:
            found[field.name] = _setting_of(field)
    return found


@functools.cache
def section_settings(section_class):
    """Returns the `Setting` of every field of one dataclass, by name."""
    return {
        field.name: _setting_of(field) for field in dataclasses.fields(section_class)
    }


def _setting_of(field):
    properties = {"flag": field.name, **field.metadata.get(_KEY, {})}
    properties.setdefault("decides_base_step", properties.get("decides_outcome", True))
    return Setting(default=field.default, **properties)

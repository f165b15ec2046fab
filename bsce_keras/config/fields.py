"""Facts about the fields of a configuration, kept beside each field."""

import dataclasses

_KEY = "setting"
_SAME_NAME = "the name of the field"


@dataclasses.dataclass(frozen=True)
class Setting:
    """Facts about one field of an `ExperimentConfig`.

    Args:
        default: value of the field, `dataclasses.MISSING` where it has to be given.
        flag: flag of `train` that sets it. None stands for several flags, the method
            or the data.
        part_flags: by name of a part of the value, the flag that sets this part.
        needs_loss: classification loss without which the value has no effect; empty
            where it always has one.
        decides_outcome: another value means other results. A run resumes only with
            the value it began with.
        decides_base_step: another value means another base step, which cannot be
            shared.
    """

    default: object
    flag: str | None
    part_flags: dict[str, str]
    needs_loss: str
    decides_outcome: bool
    decides_base_step: bool


def setting(
    default=dataclasses.MISSING,
    *,
    flag=_SAME_NAME,
    part_flags=None,
    needs_loss="",
    decides_outcome=True,
    decides_base_step=None,
):
    """Returns a dataclass field that differs in one of these facts from a plain one.

    A plain field is set by the flag of its name and decides the outcome of every step.

    Args:
        default, flag, part_flags, needs_loss, decides_outcome: see `Setting`.
        decides_base_step: see `Setting`; `decides_outcome` by default.
    """
    if decides_base_step is None:
        decides_base_step = decides_outcome
    facts = {
        "flag": flag,
        "part_flags": part_flags or {},
        "needs_loss": needs_loss,
        "decides_outcome": decides_outcome,
        "decides_base_step": decides_base_step,
    }
    return dataclasses.field(default=default, metadata={_KEY: facts})


_PLAIN = setting().metadata[_KEY]


def settings_by_name(config_class):
    """The `Setting` of every field, by dotted name such as `training.seed`.

    Args:
        config_class: dataclass; fields that are dataclasses are its sections.
    """
    found = {}
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.type):
            for inner in dataclasses.fields(field.type):
                found[f"{field.name}.{inner.name}"] = _setting_of(inner)
        else:
            found[field.name] = _setting_of(field)
    return found


def _setting_of(field):
    facts = dict(field.metadata.get(_KEY, _PLAIN))
    if facts["flag"] == _SAME_NAME:
        facts["flag"] = field.name
    return Setting(default=field.default, **facts)

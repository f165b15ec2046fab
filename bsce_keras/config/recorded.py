"""Sections of a configuration from their fields in config.json."""

import dataclasses
import typing


def from_record(section, fields):
    """Returns a section of a configuration with recorded values.

    Args:
        section: dataclass such as `StreamConfig`.
        fields: its fields as JSON values. Fields that are missing take their defaults.

    Raises:
        AttributeError, TypeError: the record has other fields than the section.
    """
    types = typing.get_type_hints(section)
    return section(
        **{name: _value(types.get(name), value) for name, value in fields.items()}
    )


def _value(kind, value):
    if isinstance(value, list):
        return tuple(_value(None, item) for item in value)
    # A section, or one that may be None.
    for inner in (kind, *typing.get_args(kind)):
        if dataclasses.is_dataclass(inner) and isinstance(value, dict):
            return from_record(inner, value)
    return value

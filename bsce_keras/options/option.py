"""Classes of an option and of a command. Imports no TensorFlow."""

import dataclasses
import pathlib

from absl import flags as absl_flags

from bsce_keras.config import SETTINGS

# By type of an option: function that defines the flag, value in `--help`, and the
# expected value in messages.
_KINDS = {
    str: (absl_flags.DEFINE_string, "TEXT", "text"),
    pathlib.Path: (absl_flags.DEFINE_string, "TEXT", "a path"),
    int: (absl_flags.DEFINE_integer, "INTEGER", "an integer"),
    float: (absl_flags.DEFINE_float, "NUMBER", "a number"),
    str | list: (absl_flags.DEFINE_string, "TEXT", "text"),
    bool: (absl_flags.DEFINE_bool, "", "true or false"),
    dict: (absl_flags.DEFINE_string, "NAME=VALUE,...", "NAME=VALUE,..."),
}


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command.

    Args:
        name: flag without dashes; for options of a run the keyword of `make_config`.
        type: key of `_KINDS`. `pathlib.Path` stands for paths in which `~` is expanded,
            `str | list` for a text on the command line and also a list in Python.
        help: meaning, for `--help`.
        choices: values to choose from; empty if the option takes any value of the type.
        or_else: form of further values, such as `MODULE:CLASS` beside the choices.
        field: field of `ExperimentConfig` that takes the value, such as
            `training.save_minutes`. Empty where `make_config` derives others from it.
        default: value without the flag; that of `field` if None.
        default_text: description of a default that depends on other options. The value
            without the flag is None then.
        every_cell: `reproduce` takes the option too, for all runs of its matrix.
        set_by: commands that set the option of `train` for each of their runs.
        python_only: `make_config` takes the option, but `train` lacks a flag for it.
    """

    name: str
    type: type
    help: str
    choices: tuple[str, ...] = ()
    or_else: str = ""
    field: str = ""
    default: object = None
    default_text: str = ""
    every_cell: bool = False
    set_by: tuple[str, ...] = ()
    python_only: bool = False

    def define(self, values):
        """Adds the flag to an `absl.flags.FlagValues`."""
        if self.choices and not self.or_else:
            absl_flags.DEFINE_enum(
                self.name,
                self.default_without_flag,
                self.choices,
                self.help,
                flag_values=values,
            )
        else:
            define, *_ = _KINDS[self.type]
            define(self.name, self.default_without_flag, self.help, flag_values=values)

    @property
    def default_without_flag(self):
        """Value without the flag; None where other options decide."""
        if self.default is not None or self.default_text or not self.field:
            return self.default
        default = SETTINGS[self.field].default
        return None if default is dataclasses.MISSING else default

    @property
    def expected(self):
        """Expected value, for messages about a command line."""
        if self.choices:
            others = f" or {self.or_else}" if self.or_else else ""
            return f"one of {', '.join(self.choices)}{others}"
        return _KINDS[self.type][2]

    @property
    def shown(self):
        """Name in messages: the flag, or the keyword if there is only that."""
        return self.name if self.python_only else f"--{self.name}"

    @property
    def usage(self):
        """Flag and value, for `--help`."""
        if self.choices:
            return f"--{self.name}=CHOICE"
        if self.type is bool:
            return (
                f"--{self.name}"
                if self.default_without_flag is None
                else f"--[no]{self.name}"
            )
        return f"--{self.name}={_KINDS[self.type][1]}"

    @property
    def description(self):
        """Meaning, choices and default, for `--help`."""
        choices = f"; {self.expected}" if self.choices else ""
        default = self.default_text
        if self.default_without_flag is not None:
            default = str(self.default_without_flag).lower()
        return f"{self.help}{choices}" + (f" (default: {default})" if default else "")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Args:
        purpose: first line of `--help`.
        example: arguments that work.
        groups: options by heading.
        positional: name of the arguments that are not flags, None if the command takes
            only flags.
        passed_on: options that the command passes on to the runs it trains.
        resumes: the same command goes on where it was stopped.
    """

    purpose: str
    example: str
    groups: dict[str, tuple[Option, ...]]
    positional: str | None = None
    passed_on: tuple[Option, ...] = ()
    resumes: bool = False

    @property
    def options(self):
        """All options, in the order of `--help`."""
        return [option for group in self.groups.values() for option in group]

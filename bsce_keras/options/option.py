"""What a flag and a command are, before any is defined. Imports no TensorFlow."""

import dataclasses

from absl import flags as absl_flags

# How a kind of flag is defined, how its value is shown, and what it expects.
_KINDS = {
    str: (absl_flags.DEFINE_string, "TEXT", "text"),
    int: (absl_flags.DEFINE_integer, "INTEGER", "an integer"),
    float: (absl_flags.DEFINE_float, "NUMBER", "a number"),
    bool: (absl_flags.DEFINE_bool, "", "true or false"),
}


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag; `kind` is a type of `_KINDS` or the tuple of values to choose from.

    Where the default depends on other flags, or must be told apart from a value that
    was asked for, `default` is None and `default_text` tells it.
    """

    name: str
    kind: type | tuple[str, ...]
    help: str
    default: object = None
    default_text: str = ""

    def define(self, values):
        """Adds the flag to an `absl.flags.FlagValues`."""
        if isinstance(self.kind, tuple):
            absl_flags.DEFINE_enum(
                self.name, self.default, self.kind, self.help, flag_values=values
            )
        else:
            define, *_ = _KINDS[self.kind]
            define(self.name, self.default, self.help, flag_values=values)

    @property
    def choices(self):
        """The values to choose from; empty if it is no choice."""
        return self.kind if isinstance(self.kind, tuple) else ()

    @property
    def expected(self):
        """What a value must be, for messages."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return _KINDS[self.kind][2]

    @property
    def usage(self):
        """How it is written, for `--help`."""
        if self.choices:
            return f"--{self.name}=CHOICE"
        if self.kind is bool:
            return f"--{self.name}" if self.default is None else f"--[no]{self.name}"
        return f"--{self.name}={_KINDS[self.kind][1]}"

    @property
    def description(self):
        """Meaning, choices and default, for `--help`."""
        choices = f"; {self.expected}" if self.choices else ""
        default = self.default_text
        if self.default is not None:
            default = str(self.default).lower()
        return f"{self.help}{choices}" + (f" (default: {default})" if default else "")


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command does, its flags by group, and what it takes besides flags."""

    purpose: str
    example: str
    groups: dict[str, tuple[Flag, ...]]
    positional: str | None = None

    @property
    def flags(self):
        """All of its flags, in the order of `--help`."""
        return [flag for group in self.groups.values() for flag in group]

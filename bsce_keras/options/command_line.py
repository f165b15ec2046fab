"""Reads the command line of every command of `command_options`.

absl stops at the first error, so this module reports every problem at once. absl's
flags hold and parse the values. Its global FLAGS stay untouched. Imports no TensorFlow.
"""

import collections
import os
import pathlib

from absl import flags as absl_flags

from bsce_keras.options.command_options import COMMANDS, READ_AT_ONCE
from bsce_keras.options.flagfile_recipes import recipe_paths, recipe_problem
from bsce_keras.options.train_options import OPTIONS, repeatable
from bsce_keras.runtime.text import did_you_mean

# Flags that stand for the flags of a file.
_FILES = ("flagfile", "recipe")


def define(command):
    """Returns the flags of a command at their defaults.

    Args:
        command: key of `COMMANDS`.

    Returns:
        New `absl.flags.FlagValues`, whose attributes such as `values.seed` can be read.
    """
    values = absl_flags.FlagValues()
    for flag in COMMANDS[command].options:
        flag.define(values)
    values.mark_as_parsed()
    return values


def parse(command, arguments):
    """Reads a command line to its end and collects all problems.

    Accepted forms: `--flag=value`, `--flag value`, `--flag` and `--noflag` for
    booleans, and `--flagfile=FILE`. Flag files may nest; paths are relative to the
    working directory. After `--`, arguments are not flags. The last of several values
    of a flag wins. `~` is expanded in paths.

    Args:
        command: key of `COMMANDS`.
        arguments: list of str, without the name of the program.

    Returns:
        `(values, positional, problems)`: the flags, the list of other arguments, and
        a list of sentences, one for each problem. A flag with a problem keeps its
        default, but `flagfile` and `recipe` keep a file that cannot be read.
    """
    reader = _Reader(command)
    reader.read(arguments)
    reader.check_positional()
    return reader.values, reader.positional, reader.problems


def is_whole(values):
    """Returns False if a flagfile or recipe could not be read."""
    return not any(values[name].present for name in _FILES if name in values)


def train_request(values):
    """Returns the keywords of `make_config` that flag values of `train` stand for."""
    return {"dataset": None, **set_values(values)}


def set_values(values):
    """Returns a dictionary of the flags that were set."""
    return {
        name: values[name].value
        for name in values
        if values[name].present and name not in READ_AT_ONCE
    }


def passed_on(command, values):
    """Returns the values that a command passes on to the runs of `train` it starts.

    These are the values given and the defaults that differ from those of `train`.

    Returns:
        Dictionary of values by name of the option.
    """
    return {
        option.name: values[option.name].value
        for option in COMMANDS[command].passed_on
        if values[option.name].present
        or option.default_without_flag != OPTIONS[option.name].default_without_flag
    }


def flagfile_text(values):
    """Returns a flag file that repeats the command from any folder: a flag a line.

    Paths are those of `repeatable`, except where an option also takes other values.
    """
    return "".join(f"{_repeated(values[name])}\n" for name in set_values(values))


def _repeated(flag):
    if OPTIONS[flag.name].type is not pathlib.Path:
        return flag.serialize()
    return f"--{flag.name}={repeatable(flag.name, flag.value)}"


class _Reader:
    """State of reading one command line."""

    def __init__(self, command):
        self.values = define(command)
        self.positional = []
        self.problems = []
        self._positional_name = COMMANDS[command].positional
        self._definitions = {flag.name: flag for flag in COMMANDS[command].options}
        self._open_files = []

    def read(self, arguments):
        rest = collections.deque(arguments)
        while rest:
            argument = rest.popleft()
            if argument == "--":
                self.positional += rest
                return
            if argument.startswith("-") and argument != "-":
                self._read_flag(argument, rest)
            else:
                self.positional.append(argument)

    def check_positional(self):
        name = self._positional_name
        if name and not self.positional:
            self.problems.append(f"Expected at least one {name}. Received: none")
        if not name:
            self.problems += [
                f"Unexpected argument {argument!r}: this command takes only flags, "
                "written as --name=value, or as --name and --noname for booleans"
                for argument in self.positional
            ]

    def _read_flag(self, argument, rest):
        if argument == "-h":
            argument = "--help"
        given, equals, text = argument.partition("=")
        name = given.removeprefix("--")
        if self._is_boolean(name):
            self._set(name, text if equals else "true")
        elif self._is_boolean(name.removeprefix("no")):
            self._negate(name, argument if equals else None)
        elif name not in self.values and self._is_path(argument):
            self.problems.append(
                f"Unknown flag {given}. For the file or folder of this name, write "
                f"./{argument}"
            )
        elif name not in self.values:
            self._unknown(given, None if equals else rest)
        elif not equals and (not rest or rest[0].startswith("--")):
            expected = self._definitions[name].expected
            self.problems.append(f"--{name} needs a value: {expected}. Received: none")
        else:
            self._set(name, text if equals else rest.popleft())

    def _is_path(self, argument):
        return bool(self._positional_name) and os.path.exists(argument)

    def _is_boolean(self, name):
        return name in self.values and self.values[name].boolean

    def _negate(self, name, with_value):
        if with_value:
            self.problems.append(
                f"--{name} takes no value. Received: {with_value}. Write --{name} or "
                f"--{name.removeprefix('no')}=false"
            )
        else:
            self._set(name.removeprefix("no"), "false")

    def _unknown(self, given, rest):
        name = given.lstrip("-")
        hint = did_you_mean(name, self.values, prefix="--")
        if name not in self.values:
            hint = _other_commands(name) or hint
        self.problems.append(f"Unknown flag {given}.{hint}")
        # The next argument was meant as the value, so it is not reported again.
        if rest and not rest[0].startswith("--"):
            rest.popleft()

    def _set(self, name, text):
        flag = self._definitions[name]
        if flag.type is pathlib.Path:
            # Shells leave `~` after the equals sign of a flag.
            text = os.path.expanduser(text)
        if name in _FILES:
            problem = self._read_file(name, text)
            if problem is None:
                return
            self.problems.append(problem)
        elif flag.type is pathlib.Path and not text:
            self._refuse(flag, text)
            return
        try:
            self.values[name].parse(text)
        except absl_flags.IllegalFlagValueError:
            self._refuse(flag, text)

    def _refuse(self, flag, text):
        self.problems.append(
            f"--{flag.name} must be {flag.expected}. Received: {text!r}."
            f"{did_you_mean(text, flag.choices)}"
        )

    def _read_file(self, name, text):
        """Reads the flags of a file; returns a sentence if they cannot be read."""
        path = recipe_paths().get(text) if name == "recipe" else text
        if path is None:
            return recipe_problem(text)
        if path in self._open_files:
            chain = " -> ".join([*self._open_files, path])
            return f"--flagfile={path} includes itself: {chain}"
        try:
            # Some editors begin a file with a byte order mark.
            with open(path, encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file]
        except UnicodeDecodeError:
            return f"--flagfile={path} cannot be read: it is not UTF-8 text"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            return f"--flagfile={path} cannot be read: {reason}"
        lines = [line for line in lines if line and not line.startswith(("#", "//"))]
        odd = None if self._positional_name else _text_line(lines)
        if odd:
            return (
                f"--flagfile={path} is not a flagfile: it holds the line {odd!r}. "
                "Every line must be a flag, --name=value, or a comment, # TEXT"
            )
        self._open_files.append(path)
        self.read(lines)
        self._open_files.pop()
        return None


def _text_line(lines):
    """Returns the first line that is neither a flag nor the value of one, or None."""
    before = ""
    for line in lines:
        is_value = before.startswith("-") and "=" not in before
        if not line.startswith("-") and not is_value:
            return line[:60]
        before = line
    return None


def _other_commands(name):
    """Returns `" It is a flag of A and B."`, or `""` if other commands lack it too."""
    owners = [
        command
        for command, spec in COMMANDS.items()
        if name in {flag.name for flag in spec.options}
    ]
    return f" It is a flag of {' and '.join(owners)}." if owners else ""

"""Reference pages of the documentation: flags, parameters of methods, and the API.

`docs/conf.py` writes them before Sphinx reads the pages. They are not committed.
Imports no TensorFlow.
"""

import importlib
import pathlib
import re

from bsce_keras.config.choices import KINDS
from bsce_keras.methods import METHODS, recipes
from bsce_keras.methods.parameters import parameters_of
from bsce_keras.options.command_options import COMMANDS

# Public names by heading, as "module:name"; `module:*` stands for its `__all__`.
API = {
    "Runs": (
        "bsce_keras:make_config",
        "bsce_keras:run_experiment",
        "bsce_keras:load_classifier",
        "bsce_keras.export:export_finished_step",
    ),
    "Losses": ("bsce_keras.losses:*",),
    "Parts": (
        "bsce_keras.optimizers:CoupledSGD",
        "bsce_keras.memory:herding",
        "bsce_keras.meta:BalancedTerm",
        "bsce_keras.meta:alpha_gradient",
        "bsce_keras.models:resnet32",
    ),
}
# Browsers would break a flag in plain text after its dashes.
_FLAG = re.compile(r"(--\w+(?:=\w+)?)")


def write_reference(folder):
    """Writes `commands.md`, `parameters.md` and `api.md` into a folder."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def commands_page():
    """Returns the page of all commands and their flags, in Markdown."""
    parts = [
        "# Commands and flags",
        "`python -m bsce_keras.NAME` is the same command as `bsce-NAME`. Every command "
        "prints this list with `--help`.",
    ]
    for name, command in COMMANDS.items():
        positional = f" {command.positional}..." if command.positional else ""
        parts += [
            f"## bsce-{name}",
            _text(command.purpose),
            f"```text\nbsce-{name} [flags]{positional}\n"
            f"bsce-{name} {command.example}\n```",
        ]
        for group, options in command.groups.items():
            parts.append(f"**{group}**")
            parts += [
                f"`{each.usage}`\n: {_text(each.description)}" for each in options
            ]
    return _page(parts)


def parameters_page():
    """Returns the page of the hyper-parameters of every method, in Markdown."""
    parts = [
        "# Parameters of methods",
        "`--method_parameters=NAME=VALUE,...` sets them. Published values differ by "
        f"kind of data set: {', '.join(KINDS)}. [Methods](../methods.md) describes "
        "the methods.",
    ]
    for method in METHODS:
        published = {kind: recipes.parameters(method, kind) for kind in KINDS}
        known = parameters_of(published[KINDS[0]])
        parts.append(f"## {method}")
        rows = [
            (
                f"`{name}`",
                _text(f"{each.help}; {each.expected}"),
                *(str(getattr(values, name)).lower() for values in published.values()),
            )
            for name, each in known.items()
        ]
        parts.append(
            _table(("parameter", "meaning", *KINDS), rows) if rows else "None."
        )
    return _page(parts)


def api_page():
    """Returns the page of the public names, whose docstrings Sphinx inserts."""
    parts = ["# Python API"]
    for heading, names in API.items():
        parts.append(f"## {heading}")
        for path in names:
            module, _, name = path.partition(":")
            chosen = importlib.import_module(module).__all__ if name == "*" else [name]
            parts += [_automatic(module, each) for each in chosen]
    return _page(parts)


PAGES = {
    "commands.md": commands_page,
    "parameters.md": parameters_page,
    "api.md": api_page,
}


def _automatic(module, name):
    # Names of classes begin with a capital letter.
    directive = "autoclass" if name[0].isupper() else "autofunction"
    return f"```{{eval-rst}}\n.. {directive}:: {module}.{name}\n```"


def _table(head, rows):
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(text):
    """Returns text with flags as code and other characters of Markdown escaped."""
    parts = _FLAG.split(text)
    parts[::2] = [re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", one) for one in parts[::2]]
    parts[1::2] = [f"`{flag}`" for flag in parts[1::2]]
    return "".join(parts)


def _page(parts):
    return "\n\n".join(parts) + "\n"

"""Reference pages have every flag and every parameter."""

import importlib
import re

from bsce_keras.options.command_options import COMMANDS
from tools.reference import API, commands_page, parameters_page


def test_every_flag_stands_under_its_command():
    sections = commands_page().split("\n## bsce-")[1:]
    assert [text.partition("\n")[0] for text in sections] == list(COMMANDS)
    for command, text in zip(COMMANDS.values(), sections, strict=True):
        for option in command.options:
            assert f"\n`{option.usage}`\n: {option.help[:5]}" in text


def test_flags_in_descriptions_are_code():
    described = [line for line in commands_page().splitlines() if line[:2] == ": "]
    assert any("is enough with `--validation_share` (" in line for line in described)
    assert not [line for line in described if re.search(r"(?<!`)--\w", line)]


def test_parameters_have_published_values_of_every_kind():
    head, *rows = [
        line
        for line in parameters_page().split("## podnet")[1].splitlines()
        if line.startswith("| ")
    ]
    assert head == "| parameter | meaning | small | cifar | subimagenet | imagenet |"
    weights = [row for row in rows if row.startswith("| `spatial_weight` |")]
    assert [row.endswith("| 3.0 | 3.0 | 8.0 | 8.0 |") for row in weights] == [True]


def test_public_names_exist():
    for path in (path for paths in API.values() for path in paths):
        module, _, name = path.partition(":")
        names = importlib.import_module(module).__all__ if name == "*" else [name]
        assert all(hasattr(importlib.import_module(module), each) for each in names)

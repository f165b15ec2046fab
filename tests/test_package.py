"""Metadata of the package agrees with its commands and its citation."""

import pathlib
import tomllib

from bsce_keras import __version__
from bsce_keras.options.command_options import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_every_command_is_installed_as_a_script():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    scripts = tomllib.loads(text)["project"]["scripts"]
    assert scripts == {f"bsce-{name}": f"bsce_keras.{name}:main" for name in COMMANDS}


def test_the_citation_names_the_version():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {__version__}" in lines

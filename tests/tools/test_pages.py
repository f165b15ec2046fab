"""Commands and flags that pages name exist."""

import pathlib
import re

import pytest

from bsce_keras.options.command_options import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
CALL = re.compile(r"(?:bsce-|bsce_keras\.)(\w+) ((?:\\\n|[^\n`])*)")
FLAG = re.compile(r"(?<![\w-])--(\w+)")
TOOL = re.compile(r"python -m tools\.(?:\\\n|[^\n`])*")
# Flags of other programs, and `--network` of a tool.
FOREIGN = {
    *("exclude", "mount", "logdir", "rest_api_port", "model_name", "model_base_path"),
    "network",
}


def flags_of(command):
    names = {option.name for option in COMMANDS[command].options}
    return names | {f"no{name}" for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_of_a_page_exist(page):
    text = TOOL.sub("", page.read_text(encoding="utf-8"))
    for command, arguments in CALL.findall(text):
        if command in COMMANDS:
            unknown = {*FLAG.findall(arguments)} - flags_of(command)
            assert not unknown, f"{command}: {unknown}"
    known = set().union(*map(flags_of, COMMANDS))
    assert {*FLAG.findall(text)} <= known | FOREIGN


def test_recipes_of_pages_exist():
    for page in PAGES:
        for name in re.findall(r"--recipe=([\w/]+)", page.read_text(encoding="utf-8")):
            assert (ROOT / "flags" / f"{name}.flags").is_file(), f"{page.name}: {name}"

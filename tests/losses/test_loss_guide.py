"""Scripts of docs/loss.md and of README.md print the output shown below them."""

import contextlib
import io
import pathlib
import re

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "loss.md", ROOT / "README.md")
SCRIPT = re.compile(r"```python\n(import .*?)```.*?```text\n(.*?)```", re.DOTALL)
SCRIPTS = [script for page in PAGES for script in SCRIPT.findall(page.read_text())]
NUMBER = re.compile(r"\d+\.\d+")


def printed_by(code):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue()


NAMES = ("recall", "class_weight", "readme")
MARKS = {"recall": pytest.mark.slow, "class_weight": pytest.mark.slow}


@pytest.mark.parametrize(
    ("code", "output"),
    [
        pytest.param(*script, id=name, marks=MARKS.get(name, ()))
        for name, script in zip(NAMES, SCRIPTS, strict=True)
    ],
)
def test_scripts_of_the_guides_print_the_shown_output(code, output):
    printed = printed_by(code)
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", output)
    # Rounding differs between processors.
    shown = [float(number) for number in NUMBER.findall(output)]
    measured = [float(number) for number in NUMBER.findall(printed)]
    np.testing.assert_allclose(measured, shown, atol=0.05)

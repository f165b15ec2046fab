"""docs/reliability.md names tests that exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_every_promise_is_held_by_tests_that_exist():
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| R\d+ .*$", page, re.M)
    assert len(rows) > 30
    named = [re.findall(r"`([\w/]+\.py)`", row) for row in rows]
    assert all(named)
    paths = {path for paths in named for path in paths}
    assert sorted(path for path in paths if not (ROOT / path).is_file()) == []

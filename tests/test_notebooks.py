"""Notebooks run to their end, and are committed with outputs that fit every machine."""

import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ACCURACY = re.compile(r"accuracy.*?\d\.\d+")


def printed_by(notebook):
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", ())]
    return "".join("".join(out.get("text", "")) for out in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_show_an_accuracy_and_no_absolute_path(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    printed = printed_by(notebook)
    assert ACCURACY.search(printed)
    assert not re.search(r"(?<![\w.])/(tmp|home|root|var|usr|work)/", printed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files(path):
    for target in re.findall(r"\]\((\.\./[^)#]+)", path.read_text(encoding="utf-8")):
        assert (FOLDER / target).is_file(), target


def test_the_first_page_links_every_notebook():
    index = (FOLDER.parent / "docs" / "index.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(../notebooks/{path.name})" in index


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_an_accuracy(path, monkeypatch):
    pytest.importorskip("nbclient")
    from tools.run_notebooks import executed

    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    assert ACCURACY.search(printed_by(executed(path)))

"""Executes the notebooks in `notebooks/` and writes their outputs into them.

`make notebooks` runs it. Imports no TensorFlow; each notebook has a process of its own.
"""

import pathlib
import sys

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
# Seconds that a cell may take on a busy machine.
_TIMEOUT = 600


def main():
    """Executes and writes every notebook."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        print(path.name, file=sys.stderr)
        nbformat.write(executed(path), path)


def executed(path):
    """Returns a notebook with new outputs.

    Standard error is left out: TensorFlow logs times and process ids there.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell ends with an error.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=_TIMEOUT, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                output for output in cell.outputs if output.get("name") != "stderr"
            ]
    # The version of Python would change with every machine.
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    main()

"""docs/results.md, its figures and a table of the README, from `results/` only.

`make results` runs it. The same records give the same bytes. A record comes from
`python -m tools.collect RUN`.
"""

import argparse
import pathlib
import sys

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import make_folder, write_atomically
from tools.collect import RESULTS
from tools.results_page import IMAGES, page, readme_table
from tools.results_sections import read_records, sections

BEGIN, END = "<!-- make results: begin -->", "<!-- make results: end -->"


def main(argv=None):
    """Runs the command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, or 2 for a damaged record.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.results", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--results", default=RESULTS, help="folder of all records")
    parser.add_argument("--output", default=".", help="folder of README.md and docs/")
    asked = parser.parse_args(argv)
    try:
        written = write_results(asked.results, asked.output)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    for path in written:
        print(f"wrote {path}")
    return 0


def write_results(results_dir, output):
    """Writes the page and its figures, and the table between the marks of README.md.

    Figures that the page no longer shows are removed.

    Args:
        results_dir: folder of all records.
        output: folder that holds README.md, if any, and `docs/`.

    Returns:
        The paths written.

    Raises:
        RequestError: a record is damaged.
    """
    found = sections(read_records(results_dir))
    output = pathlib.Path(output)
    images = output / "docs" / IMAGES
    make_folder(images)
    text, figures = page(found)
    for old in images.glob("*.png"):
        if old.name not in figures:
            old.unlink()
    for name, draw in figures.items():
        draw(images / name)
    page_path, readme = output / "docs" / "results.md", output / "README.md"
    write_atomically(page_path, text)
    written = [page_path, *(images / name for name in figures)]
    if readme.is_file():
        write_atomically(readme, _with_table(readme.read_text("utf-8"), found))
        written.append(readme)
    return written


def _with_table(text, found):
    """README.md with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise RequestError(f"README.md must hold the lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{readme_table(found)}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())

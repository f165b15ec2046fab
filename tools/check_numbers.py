"""Lists measured numbers on README and docs pages that name no source.

`python -m tools.check_numbers` prints them and ends with exit code 1 if there is one.

Rules, by which a number is measured:

- It has a unit: %, points, images/s, seconds, minutes, hours, ms, MB and the like. A
  list such as "65, 60 and 53 %" shares its unit.
- It has two or more decimals and is at least 1, as accuracies are printed.
- It is in a cell of a table that has only numbers. First cells of rows are labels.

Code, links, the column `runs`, and sentences and columns that name the paper, a target
or a setting are left out.

Rules, by which a measured number has a source:

- It has decimals and is one of docs/results.md, which `make results` writes.
- On a page of docs/, its section names a command.
- It is one of a section with a command, of the same page or of a page that is linked.

`_REASONS` names the exceptions.

Imports no TensorFlow.
"""

import dataclasses
import pathlib
import re
import sys

from tools.page_text import lines_outside_code

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = "docs/results.md"
# Exceptions by reason and page.
_REASONS = {
    "follows from the formula or shape beside it": {
        "docs/analytic.md": "4.2 16.8 67.1 268.5 1073.8 6.1",
        "docs/data_sets.md": "184 197",
        "docs/reproducing.md": "21 10 18 17 127",
    },
    "a setting": {"docs/data_sets.md": "8 100"},
    "seconds whose command was not kept": {"docs/analytic.md": "11 10"},
}
ALLOWED = {
    (page, number)
    for pages in _REASONS.values()
    for page, numbers in pages.items()
    for number in numbers.split()
}

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_UNIT = (
    r"(?:%|points?\b|images/s|seconds?\b|minutes?\b|hours?\b|[mµ]?s\b|min\b"
    r"|[kMGT]?B\b|bytes\b|G?FLOP)"
)
_WITH_UNIT = re.compile(
    rf"(?<![\w.])({_NUMBER}(?:(?:,| and| to| or| or about)? {_NUMBER})*)\s?{_UNIT}"
)
# Not a number of arXiv, which has four digits before the point.
_ACCURACY = re.compile(r"(?<![\w.-])[1-9]\d{0,2}\.\d\d+(?!\w|\.\d)")
_CELL = re.compile(rf"[-+~]?{_NUMBER}(?:e-\d+)?(?:[ ,±()%s]| to |{_NUMBER}|)*")
_COMMAND = re.compile(
    r"python -m (?:(?:tools|bsce_keras)\.|timeit)|\bbsce-[a-z]+ "
    r"|\bmake (?:benchmark|demo|results)"
)
_HEADING = re.compile(r"#+ ")
_LINK = re.compile(r"\]\(([^)#]+\.md)")
_OTHERS = re.compile(r"paper|target|published|TensorFlow|Keras|Python|NumPy|PyTorch")
_OTHER_COLUMNS = re.compile(
    r"paper|target|setting|flag|batch|default|meaning|means|^runs$"
)


@dataclasses.dataclass(frozen=True)
class Section:
    """Part of a page from one heading to the next: `(line number, text)` pairs."""

    page: str
    lines: tuple

    @property
    def text(self):
        return "\n".join(text for _, text in self.lines)

    @property
    def has_command(self):
        return self.page != "README.md" and bool(_COMMAND.search(self.text))


def main():
    """Prints the numbers without a source; returns the exit code."""
    found = numbers_without_source(ROOT)
    for page, line, number in found:
        print(f"{page}:{line}: {number} has neither a record nor a command.")
    return 1 if found else 0


def numbers_without_source(root):
    """Returns `(page, line, number)` of every measured number without a source."""
    root = pathlib.Path(root)
    names = [
        "README.md",
        *sorted(f"docs/{path.name}" for path in root.glob("docs/*.md")),
    ]
    pages = {name: sections(name, (root / name).read_text("utf-8")) for name in names}
    recorded = _values(pages.pop(RESULTS))
    return [
        (name, line, number)
        for name, parts in pages.items()
        for section in parts
        if not section.has_command
        for line, number in measured_numbers(section)
        if not (
            (name, number) in ALLOWED
            or ("." in number and _is_in(number, recorded))
            or _is_in(number, _linked(section, pages))
        )
    ]


def sections(name, text):
    """Returns the `Section`s of a page."""
    parts, is_code = [[]], False
    for line, content in enumerate(text.splitlines(), start=1):
        is_code ^= content.startswith("```")
        if _HEADING.match(content) and not is_code:
            parts.append([])
        parts[-1].append((line, content))
    return [Section(name, tuple(part)) for part in parts if part]


def measured_numbers(section):
    """Yields `(line number, number)` of the measured numbers of a section."""
    header = None
    for line, text in lines_outside_code(section.lines):
        if not text.startswith("|"):
            header = None
            for sentence in re.split(r"(?<=[.:;]) ", text):
                if not _OTHERS.search(sentence):
                    yield from ((line, number) for number in _in_text(sentence))
            continue
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        header = header or cells
        for title, cell in list(zip(header, cells, strict=False))[1:]:
            if cells is not header and not _OTHER_COLUMNS.search(title):
                yield from ((line, number) for number in _in_cell(cell))


def _in_text(text):
    lists = [match.group(1) for match in _WITH_UNIT.finditer(text)]
    found = [number for each in lists for number in re.findall(_NUMBER, each)]
    return [*found, *(each for each in _ACCURACY.findall(text) if each not in found)]


def _in_cell(text):
    return re.findall(_NUMBER, text) if _CELL.fullmatch(text) else _in_text(text)


def _linked(section, pages):
    """Returns the numbers beside a command, here and on the pages that are linked."""
    names = {pathlib.PurePosixPath(name).name for name in _LINK.findall(section.text)}
    parts = [part for name in names for part in pages.get(f"docs/{name}", ())]
    parts += pages[section.page]
    return _values(part for part in parts if part.has_command)


def _values(parts):
    """Returns the measured numbers of sections as floats."""
    found = [number for part in parts for _, number in measured_numbers(part)]
    return {float(number.replace(",", "")) for number in found}


def _is_in(number, values):
    """Returns True if a value is the number, at the number of decimals it has."""
    decimals = len(number.partition(".")[2])
    wanted = float(number.replace(",", ""))
    return any(abs(value - wanted) <= 0.5 * 10**-decimals + 1e-9 for value in values)


if __name__ == "__main__":
    sys.exit(main())

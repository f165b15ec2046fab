"""Lengths of the sentences of a Markdown page, in words.

`python -m tools.check_sentences README.md` prints their number, median and maximum.
Headings, tables, code and images are not counted. A piece of inline code is one word.
"""

import pathlib
import re
import statistics
import sys

from tools.page_text import lines_outside_code

_NOT_TEXT = ("|", "#", "!", "<")
_END = re.compile(r"(?<=[.:?])[*`)]*\s+(?=[A-Z0-9*`\[(])")


def main(paths):
    """Prints one line for each page."""
    for path in paths:
        lengths = sentence_lengths(pathlib.Path(path).read_text(encoding="utf-8")) or [
            0
        ]
        print(
            f"{path}: {len(lengths)} sentences, median "
            f"{statistics.median(lengths):g} words, longest {max(lengths)}"
        )


def sentence_lengths(text):
    """Returns the number of words of every sentence."""
    paragraphs = [[]]
    for _, line in lines_outside_code(enumerate(text.splitlines(), start=1)):
        if not line.strip() or line.startswith(_NOT_TEXT):
            paragraphs.append([])
            continue
        if line.startswith("- "):
            paragraphs.append([])
        paragraphs[-1].append(line.removeprefix("- ").strip())
    sentences = [part for lines in paragraphs for part in _END.split(" ".join(lines))]
    return [len(sentence.split()) for sentence in sentences if sentence]


if __name__ == "__main__":
    main(sys.argv[1:])

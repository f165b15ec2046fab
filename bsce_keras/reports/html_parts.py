"""Parts of HTML pages: document, tables, notes. All text is escaped."""

import html

from bsce_keras.reports.tables import numeric_columns
from bsce_keras.runtime.text import printable

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
        font-size: .9rem; }
th, td { padding: .25rem .55rem; border-bottom: 1px solid #ddd; text-align: right;
         vertical-align: baseline; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
th.words { white-space: normal; }
.text { text-align: left; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 7.5rem; }
.word { display: inline-block; max-width: 100%; }
.figures { display: flex; flex-wrap: wrap; gap: 0 1rem; }
figure { margin: 1rem 0; flex: 1 1 100%; min-width: 0; }
figure.narrow { flex: 1 1 24rem; }
img { max-width: 100%; height: auto; }
h1, h2, dd, .note { overflow-wrap: anywhere; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; }
.gallery { display: flex; flex-wrap: wrap; gap: .75rem; }
.gallery figure { flex: 0 0 7rem; margin: 0; font-size: .8rem;
                  overflow-wrap: anywhere; }
.gallery img { width: 6rem; height: 6rem; image-rendering: pixelated; }
@media (max-width: 30rem) {
  body { padding: 0 .5rem; }
  h1 { font-size: 1.5rem; }
  h2 { font-size: 1.2rem; }
  table { font-size: .8rem; }
  th, td { padding: .2rem .3rem; }
  td.long { min-width: 6.5rem; }
}
summary { cursor: pointer; font-weight: 600; margin: 1rem 0; }
.note { color: #555; font-size: .9rem; }
"""

# Characters of a text that is not broken into lines.
_SHORT = 12
# Rows of a table that is open from the start.
_MOST_OPEN = 30


def document(title, parts):
    """Returns an HTML document, to be written as UTF-8.

    Args:
        title: title of the page, as text.
        parts: pieces of HTML; empty ones and None are left out.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, [f"<h1>{text(title)}</h1>", *parts]))
        + "\n</body>\n</html>\n"
    )


def folded(title, head, rows):
    """Returns a table that a click opens. Short tables are open from the start."""
    is_open = " open" if len(rows) <= _MOST_OPEN else ""
    return (
        f"<details{is_open}><summary>{text(title)}</summary>\n"
        f"{table(head, rows)}</details>"
    )


def table(head, rows):
    """Returns a table with columns of numbers to the right.

    Args:
        head: column heads.
        rows: lists of cells: text, or a list of texts as of `isolated`.
    """
    numeric = numeric_columns(head, [["".join(cell) for cell in row] for row in rows])
    lines = [_row("th", head, numeric), *(_row("td", row, numeric) for row in rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag, cells, numeric):
    parts = []
    for cell, is_number in zip(cells, numeric, strict=True):
        kinds = [] if is_number else ["text"]
        if tag == "th":
            # A head of one word stays whole, hyphens included.
            kinds += ["words"] if " " in cell else []
        elif not is_number and len("".join(cell)) > _SHORT:
            kinds.append("long")
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        parts.append(f"<{tag}{kind}>{isolated(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


def isolated(parts):
    """Returns HTML text of parts that may be written in different directions.

    A name in Arabic or Hebrew would carry the numbers and names after it along, to its
    left, if it were not isolated.

    Args:
        parts: one text, or a list of texts that stand side by side.
    """
    if isinstance(parts, str):
        return text(parts)
    return "".join(f"<bdi>{text(part)}</bdi>" for part in parts)


def words(value):
    """Returns the words of a text, parted at spaces only: not at hyphens of flags."""
    return " ".join(
        f'<span class="word">{text(word)}</span>' for word in value.split(" ")
    )


def gallery(pictures):
    """Returns pictures side by side.

    Args:
        pictures: list of `(png, lines)`: a PNG file in Base64, and lines of text below
            it as of `isolated`. The first line is plain text, which also stands in for
            the picture.
    """
    figures = [
        f'<figure><img alt="{text(lines[0])}" src="data:image/png;base64,{text(png)}">'
        f"<figcaption>{'<br>'.join(map(isolated, lines))}</figcaption></figure>"
        for png, lines in pictures
    ]
    return f'<div class="gallery">{"".join(figures)}</div>'


def note(value):
    """Returns a paragraph in small print."""
    return f'<p class="note">{text(value)}</p>'


def text(value):
    """Returns the value as HTML text."""
    return html.escape(printable(value))

"""Parts of HTML pages: document, tables, notes. All text is escaped."""

import html

from bsce_keras.reports.tables import numeric_columns
from bsce_keras.runtime.text import printable

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right;
         white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
.text { text-align: left; }
.names td:last-child { white-space: normal; min-width: 12rem; }
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
  th, td { padding: .2rem .3rem; font-size: .8rem; }
}
summary { cursor: pointer; font-weight: 600; margin: 1rem 0; }
.note { color: #555; font-size: .9rem; }
"""

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


def folded(title, head, rows, kind=""):
    """Returns a table that a click opens. Short tables are open from the start."""
    is_open = " open" if len(rows) <= _MOST_OPEN else ""
    return (
        f"<details{is_open}><summary>{text(title)}</summary>\n"
        f"{table(head, rows, kind)}</details>"
    )


def table(head, rows, kind=""):
    """Returns a table with columns of numbers to the right."""
    numeric = numeric_columns(head, rows)
    lines = [_row("th", head, numeric), *(_row("td", row, numeric) for row in rows)]
    return f'<div class="wide{kind}"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag, cells, numeric):
    parts = [
        f"<{tag}{'' if is_number else ' class=text'}>{text(cell)}</{tag}>"
        for cell, is_number in zip(cells, numeric, strict=True)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def gallery(pictures):
    """Returns pictures side by side.

    Args:
        pictures: list of `(png, lines)`: a PNG file in Base64, and lines of text below
            it, of which the first one also stands in for the picture.
    """
    figures = [
        f'<figure><img alt="{text(lines[0])}" src="data:image/png;base64,{text(png)}">'
        f"<figcaption>{'<br>'.join(map(text, lines))}</figcaption></figure>"
        for png, lines in pictures
    ]
    return f'<div class="gallery">{"".join(figures)}</div>'


def note(value):
    """Returns a paragraph in small print."""
    return f'<p class="note">{text(value)}</p>'


def text(value):
    """Returns the value as HTML text."""
    return html.escape(printable(value))

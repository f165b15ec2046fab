"""Records -> one HTML page that holds everything it shows: no script, no other file."""

import base64
import html

from bsce_keras.reports.tables import (
    comparison,
    notes,
    numeric_columns,
    remarks,
    step_rows,
)
from bsce_keras.runtime.text import printable

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right;
         white-space: nowrap; }
th { border-bottom: 2px solid #888; }
.text { text-align: left; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
dt { font-weight: 600; }
.note { color: #555; font-size: .9rem; }
"""
# Titles of the figures.
ACCURACY = "Accuracy over steps"
ALPHA = "alpha over steps"
CONFUSION = "Confusion matrix of the last step"
# What of the protocol in config.json answers the first questions of a reader.
_PROTOCOL = ("optimizer", "precision", "batch_normalization", "evaluation", "replicas")


def html_page(title, results, pictures, pictures_of_runs):
    """The report as one page.

    Args:
        title: of the page.
        results: `RunResult`s.
        pictures: PNG files of all runs together, paths by title.
        pictures_of_runs: for every result, the same of that run alone.

    Returns:
        Text of an HTML document, to be written as UTF-8.
    """
    common, head, rows = comparison(results)
    body = [
        f"<h1>{_text(title)}</h1>",
        common and f"<p>{_text(common)}</p>",
        _table(head, rows),
        *(_note(note) for note in [*notes(), *remarks(results)]),
        *_figures(pictures),
    ]
    for result, own in zip(results, pictures_of_runs, strict=True):
        body += [
            f"<h2>{_text(result.run_dir)}</h2>",
            _table(*step_rows(result)),
            *_figures(own),
            _facts(result.config.get("protocol")),
        ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )


def _table(head, rows):
    numeric = numeric_columns(head, rows)
    lines = [_row("th", head, numeric), *(_row("td", row, numeric) for row in rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag, cells, numeric):
    parts = [
        f"<{tag}{'' if is_number else ' class=text'}>{_text(cell)}</{tag}>"
        for cell, is_number in zip(cells, numeric, strict=True)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def _figures(pictures):
    return [_figure(title, path) for title, path in pictures.items()]


def _figure(title, path):
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{_text(title)}" src="data:image/png;base64,{data}">'
        f'<figcaption class="note">{_text(title)}</figcaption></figure>'
    )


def _facts(protocol):
    """How a run was made; records of other versions may not tell."""
    if not isinstance(protocol, dict):
        return ""
    items = [
        f"<dt>{_text(name.replace('_', ' '))}</dt><dd>{_text(protocol[name])}</dd>"
        for name in _PROTOCOL
        if name in protocol
    ]
    return f"<dl>{''.join(items)}</dl>"


def _note(text):
    return f'<p class="note">{_text(text)}</p>'


def _text(value):
    return html.escape(printable(value))

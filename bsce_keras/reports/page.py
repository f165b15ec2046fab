"""Records -> one HTML page that holds everything it shows: no script, no other file."""

import base64
import html

from bsce_keras.records.run_facts import run_facts
from bsce_keras.reports.class_tables import arrival_rows, class_rows, mistake_rows
from bsce_keras.reports.groups import group_labels, group_runs
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
@media (max-width: 30rem) {
  body { padding: 0 .5rem; }
  th, td { padding: .2rem .3rem; font-size: .8rem; }
}
summary { cursor: pointer; font-weight: 600; margin: 1rem 0; }
.note { color: #555; font-size: .9rem; }
"""
# Titles of the figures.
ACCURACY = "Accuracy over steps"
GROUPS = "Accuracy on base, old and new classes"
LOGS = "Confusion matrix of the last step, log(1 + count)"
SHARES = "Confusion matrix of the last step, shares of each true class"
ALPHA = "alpha over steps"
# Two of these stand side by side where there is room.
_NARROW = (LOGS, SHARES)
# Rows of a table that is open from the start.
_MOST_OPEN = 30
# Fields of the protocol in config.json that answer the first questions of a reader.
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
        _figures(pictures),
    ]
    for result, own in zip(results, pictures_of_runs, strict=True):
        body += _run(result, own)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )


def _run(result, pictures):
    """The part of a page that shows one run."""
    [label] = group_labels(group_runs([result]))
    parts = [
        f"<h2>{_text(result.run_dir)}</h2>",
        f"<p>{_text(label)}</p>",
        _table(*step_rows(result)),
        _figures(pictures),
    ]
    if result.confusion is not None:
        parts += [
            "<h3>Commonest mistakes of the last step</h3>",
            _table(*mistake_rows(result)),
            _folded("Accuracy of every class", *class_rows(result)),
        ]
    return [
        *parts,
        _folded("Classes of every step", *arrival_rows(result), kind=" names"),
        "<h3>How it was made</h3>",
        _facts(result),
    ]


def _folded(title, head, rows, kind=""):
    """A table that a click opens; open from the start if it is short."""
    is_open = " open" if len(rows) <= _MOST_OPEN else ""
    return (
        f"<details{is_open}><summary>{_text(title)}</summary>\n"
        f"{_table(head, rows, kind)}</details>"
    )


def _table(head, rows, kind=""):
    numeric = numeric_columns(head, rows)
    lines = [_row("th", head, numeric), *(_row("td", row, numeric) for row in rows)]
    return f'<div class="wide{kind}"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag, cells, numeric):
    parts = [
        f"<{tag}{'' if is_number else ' class=text'}>{_text(cell)}</{tag}>"
        for cell, is_number in zip(cells, numeric, strict=True)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def _figures(pictures):
    shown = [_figure(title, path) for title, path in pictures.items()]
    return shown and '<div class="figures">\n' + "\n".join(shown) + "\n</div>"


def _figure(title, path):
    data = base64.b64encode(path.read_bytes()).decode()
    kind = ' class="narrow"' if title in _NARROW else ""
    return (
        f'<figure{kind}><img alt="{_text(title)}" src="data:image/png;base64,{data}">'
        f'<figcaption class="note">{_text(title)}</figcaption></figure>'
    )


def _facts(result):
    """Command, versions, machine and protocol; older records may not have all."""
    facts = run_facts(result)
    protocol = result.config.get("protocol")
    if isinstance(protocol, dict):
        facts |= {name: protocol[name] for name in _PROTOCOL if name in protocol}
    items = [
        f"<dt>{_text(name.replace('_', ' '))}</dt><dd>{_text(fact)}</dd>"
        for name, fact in facts.items()
    ]
    return f"<dl>{''.join(items)}</dl>"


def _note(text):
    return f'<p class="note">{_text(text)}</p>'


def _text(value):
    return html.escape(printable(value))

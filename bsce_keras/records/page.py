"""Records -> one HTML page that holds everything it shows: no script, no other file."""

import base64
import html

from bsce_keras.records.tables import comparison, notes, remarks, step_rows

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
    is_text = [not any(_is_number(row[i]) for row in rows) for i in range(len(head))]
    lines = [_row("th", head, is_text), *(_row("td", row, is_text) for row in rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _row(tag, cells, is_text):
    parts = [
        f"<{tag}{' class=text' if text else ''}>{_text(cell)}</{tag}>"
        for cell, text in zip(cells, is_text, strict=True)
    ]
    return f"<tr>{''.join(parts)}</tr>"


def _is_number(cell):
    return cell[:1] in "-0123456789" and " x " not in cell and cell != ""


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
    return html.escape(str(value))

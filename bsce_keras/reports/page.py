"""One HTML page of runs, which needs neither scripts nor other files."""

import base64

from bsce_keras.records.run_facts import run_facts
from bsce_keras.records.run_records import read_pictures
from bsce_keras.reports.class_tables import arrival_rows, class_rows, mistake_rows
from bsce_keras.reports.groups import group_labels, group_runs
from bsce_keras.reports.html_parts import (
    document,
    folded,
    gallery,
    note,
    table,
    text,
    words,
)
from bsce_keras.reports.remarks import remarks
from bsce_keras.reports.tables import comparison, further_rows, notes, step_rows
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import percent

# Titles of the figures.
ACCURACY = "Accuracy over steps"
GROUPS = "Accuracy on base, old and new classes"
LOGS = "Confusion matrix of the last step, log(1 + count)"
SHARES = "Confusion matrix of the last step, shares of each true class"
ALPHA = "alpha over steps"
LOSSES = "Loss and its terms by epoch"
POSTHOC_ALPHA = "Old against new accuracy of the last step by alpha after training"
# Sentences below figures that need one.
_EXPLANATIONS = {
    POSTHOC_ALPHA: (
        "This is logit adjustment, as export --alpha writes it: log(alpha) is added to "
        "the logits of old classes of the trained network, here on validation images. "
        "The paper's alpha is another one, which acts in the loss."
    ),
}
# Two of these stand side by side where there is room.
_NARROW = (LOGS, SHARES)
# Fields of the protocol in config.json that answer the first questions of a reader.
_PROTOCOL = ("optimizer", "precision", "batch_normalization", "evaluation", "replicas")


def html_page(title, results, pictures, pictures_of_runs):
    """Returns the report as one page.

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
        common and f"<p>{text(common)}</p>",
        table(head, rows),
        *(note(line) for line in [*notes(head), *remarks(results)]),
        _figures(pictures),
        len(results) > 1 and _contents(results),
    ]
    for number, (result, own) in enumerate(zip(results, pictures_of_runs, strict=True)):
        # The pages of many runs would be too large with the pictures of every step.
        body += _run(result, own, number, has_pictures=len(results) == 1)
    return document(title, body)


def _contents(results):
    """Returns links to the parts of the runs."""
    links = [
        f'<a href="#run{number}">{text(result.run_dir)}</a>'
        for number, result in enumerate(results)
    ]
    return f'<p class="note">Runs: {", ".join(links)}</p>'


def _run(result, pictures, number, has_pictures):
    """Returns the part of a page that shows one run."""
    [label] = group_labels(group_runs([result]))
    parts = [
        f'<h2 id="run{number}">{text(result.run_dir)}</h2>',
        f"<p>{text(label)}</p>",
        table(*step_rows(result)),
        _further(result),
        _figures(pictures),
    ]
    if result.confusion is not None:
        parts += [
            "<h3>Commonest mistakes of the last step</h3>",
            table(*mistake_rows(result)),
            folded("Accuracy of every class", *class_rows(result)),
        ]
    if has_pictures:
        parts += _pictures_of_steps(result)
    return [
        *parts,
        folded("Classes of every step", *arrival_rows(result)),
        "<h3>How it was made</h3>",
        _facts(result),
    ]


def _further(result):
    """Returns the table of `further_rows`; nothing for runs that did not record it."""
    if all(step.get("calibration_error") is None for step in result.steps):
        return ""
    return folded("Top-5, calibration and recency bias", *further_rows(result))


def _pictures_of_steps(result):
    """Returns exemplars and worst mistakes of every step, where they were kept."""
    parts = []
    for step in reversed(result.steps):
        try:
            pictures = read_pictures(result.run_dir, step["step"])
        except RequestError:
            parts.append(note(f"Pictures of step {step['step']} are damaged."))
            continue
        if pictures:
            title = f"Pictures of step {step['step']}"
            is_open = "" if parts else " open"
            parts += [f"<details{is_open}><summary>{title}</summary>"]
            parts += [*_galleries(pictures), "</details>"]
    return parts


def _galleries(pictures):
    """Returns the pictures of one step; empty parts where there are none."""
    exemplars = [(one["png"], [one["class"]]) for one in pictures["exemplars"]]
    mistakes = []
    for one in pictures["mistakes"]:
        # The number keeps its sign: no line ends between them.
        share = f", {percent(one['probability'])}\N{NO-BREAK SPACE}%"
        guess = ["taken for ", one["predicted"], share]
        mistakes.append((one["png"], [one["class"], guess]))
    return [
        exemplars and note("Exemplars of new classes, the first of each class"),
        exemplars and gallery(exemplars),
        mistakes and note("Wrong predictions with the largest probability"),
        mistakes and gallery(mistakes),
    ]


def _figures(pictures):
    shown = [_figure(title, path) for title, path in pictures.items()]
    return shown and '<div class="figures">\n' + "\n".join(shown) + "\n</div>"


def _figure(title, path):
    data = base64.b64encode(path.read_bytes()).decode()
    explanation = _EXPLANATIONS.get(title)
    caption = f"{title}. {explanation}" if explanation else title
    kind = ' class="narrow"' if title in _NARROW else ""
    return (
        f'<figure{kind}><img alt="{text(title)}" src="data:image/png;base64,{data}">'
        f'<figcaption class="note">{text(caption)}</figcaption></figure>'
    )


def _facts(result):
    """Returns command, versions, machine and protocol, as far as they are recorded."""
    facts = run_facts(result)
    protocol = result.config.get("protocol")
    if isinstance(protocol, dict):
        facts |= {name: protocol[name] for name in _PROTOCOL if name in protocol}
    items = [
        f"<dt>{text(name.replace('_', ' '))}</dt>"
        f"<dd>{words(fact) if name == 'command' else text(fact)}</dd>"
        for name, fact in facts.items()
    ]
    return f"<dl>{''.join(items)}</dl>"

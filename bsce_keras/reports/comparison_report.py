"""Comparison of two models as text, JSON-able record and HTML page."""

from bsce_keras.reports import html_parts
from bsce_keras.reports.pictures import thumbnail
from bsce_keras.reports.tables import aligned
from bsce_keras.runtime.text import percent, printable

# Classes that lost accuracy which the text lists.
_MOST_LOSSES = 10
_HEAD = [
    *("class", "images", "old", "new", "change"),
    *("turned wrong", "turned right", "p"),
]
_NOTES = (
    "Old classes are those that the old model knows. Accuracies are in percent and "
    "changes in points.",
    "Turned wrong: images that only the old model classifies correctly. Turned right: "
    "images that only the new model does.",
    "p: two-sided p-value of McNemar's exact test that both models are equally good. "
    "Of many classes, some have a small p by chance.",
)


def text(comparison, paths, failures):
    """Returns the comparison as text.

    Args:
        comparison: `evaluation.comparison.Comparison`.
        paths: folders of the old and the new model.
        failures: sentences of `gate_failures`.
    """
    parts = [
        f"old  {printable(paths[0])}\nnew  {printable(paths[1])}",
        aligned(["", *_HEAD[1:]], _rows(comparison.groups)),
    ]
    losses = comparison.losses
    if losses:
        shown = aligned(_HEAD, _rows(losses[:_MOST_LOSSES]))
        more = len(losses) - _MOST_LOSSES
        rest = f"\nand {more} more" if more > 0 else ""
        parts.append(f"Old classes that lost accuracy\n{shown}{rest}")
    else:
        parts.append("No old class lost accuracy.")
    parts += [f"Gate failed: {printable(failure)}." for failure in failures]
    return "\n\n".join(parts)


def record(comparison, paths, failures):
    """Returns the comparison as a JSON-able dictionary; see `text`."""
    return {
        "old_model": printable(paths[0]),
        "new_model": printable(paths[1]),
        "groups": [_fields(one) for one in comparison.groups],
        "classes": [_fields(one) for one in comparison.classes],
        "gate_failures": failures,
    }


def page(comparison, paths, failures, turned, pictures):
    """Returns the comparison as an HTML page; see `text`.

    Args:
        comparison, paths, failures: as in `text`.
        turned: positions of the images to show.
        pictures: these images, uint8, shape `(height, width, channels)` each.
    """
    parts = [
        f"<p>Old model: {html_parts.text(paths[0])}<br>"
        f"New model: {html_parts.text(paths[1])}</p>",
        *(
            f"<p><strong>Gate failed:</strong> {html_parts.text(failure)}.</p>"
            for failure in failures
        ),
        html_parts.table(["", *_HEAD[1:]], _rows(comparison.groups)),
        *map(html_parts.note, _NOTES),
        "<h2>Every class, the largest loss first</h2>",
        html_parts.table(_HEAD, _rows(_by_gain(comparison.classes))),
        "<h2>Images that turned wrong</h2>",
        *_gallery(comparison, turned, pictures),
    ]
    return html_parts.document("Comparison of two models", parts)


def _by_gain(classes):
    """Returns old classes by their gain, then new classes."""
    return sorted(classes, key=lambda one: (not one.is_known, one.gain))


def _rows(differences):
    return [
        [
            printable(one.name),
            str(one.images),
            percent(one.old) if one.is_known else "-",
            percent(one.new),
            f"{one.gain:+.2f}" if one.is_known and one.images else "-",
            str(one.turned_wrong),
            str(one.turned_right),
            f"{one.p_value:.2g}" if one.is_known else "-",
        ]
        for one in differences
    ]


def _fields(one):
    has_old = one.is_known and one.images
    return {
        "name": one.name,
        "images": one.images,
        "old_accuracy": one.old if has_old else None,
        "new_accuracy": one.new if one.images else None,
        "turned_wrong": one.turned_wrong,
        "turned_right": one.turned_right,
        "p_value": one.p_value if has_old else None,
    }


def _gallery(comparison, turned, pictures):
    if not len(turned):
        return [html_parts.note("None.")]
    total = len(comparison.turned_wrong)
    captions = [
        [
            comparison.class_names[of[index]]
            for of in (comparison.labels, comparison.new)
        ]
        for index in turned.tolist()
    ]
    shown = [
        (thumbnail(picture), [true, f"now: {now}"])
        for (true, now), picture in zip(captions, pictures, strict=True)
    ]
    return [
        html_parts.note(
            f"{len(turned)} of {total}: the true class, then the class predicted now"
        ),
        html_parts.gallery(shown),
    ]

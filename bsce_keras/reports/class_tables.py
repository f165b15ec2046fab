"""Classes of a run in tables: arrival, accuracy of each, and what it is taken for."""

import numpy as np

from bsce_keras.evaluation.metrics import per_class_accuracy, tally
from bsce_keras.records.protocol import names_by_arrival
from bsce_keras.runtime.text import UNDEFINED, percent

# Pairs of classes in the table of confusions.
_MOST_PAIRS = 15


def seen_names(result):
    """Names of the classes seen so far, in order of arrival."""
    num_classes = result.steps[-1]["num_classes"] if result.steps else 0
    return names_by_arrival(result.config["stream"])[:num_classes]


def arrival_rows(result):
    """Column heads, and a row for each step: its number and the names it brought.

    Names are parts of a cell, as `html_parts.isolated` takes them.
    """
    names, start, rows = seen_names(result), 0, []
    for step in result.steps:
        new = names[start : step["num_classes"]]
        rows.append([str(step["step"]), str(len(new)), _enumerated(new)])
        start = step["num_classes"]
    return ["step", "new classes", "names"], rows


def class_rows(result):
    """Column heads, and a row for each seen class.

    The number is the one that figures write where they cannot write names, from 0 on in
    order of arrival. Accuracies are percent: after the step that brought the class (`at
    first`), and after the last one (`at the end`). Numbers of images are those of the
    step that brought the class; exemplars those after the last one. The last column has
    the class that it is most often taken for, and the number of its images that are.
    These are two parts, as `html_parts.isolated` takes them.

    Args:
        result: `RunResult` with a confusion matrix.
    """
    head = ["number", "class", "step", "trained on", "exemplars", "scored on"]
    head += ["at first", "at the end", "most often taken for"]
    names, confusion = seen_names(result), result.confusion
    last = per_class_accuracy(tally(confusion))
    wrong = _mistakes(confusion)
    rows, first = [], 0
    for step in result.steps:
        for label in range(first, step["num_classes"]):
            guess = int(wrong[label].argmax())
            count = int(wrong[label, guess])
            rows.append(
                [
                    str(label),
                    names[label],
                    str(step["step"]),
                    _entry(step.get("class_counts"), label),
                    _entry(result.steps[-1].get("exemplars_per_class"), label),
                    str(int(confusion[label].sum())),
                    _accuracy_at(result, step["step"], label),
                    percent(last[label]),
                    [names[guess], f" ({count})"] if count else UNDEFINED,
                ]
            )
        first = step["num_classes"]
    return head, rows


def mistake_rows(result):
    """Column heads, and a row for each of the commonest mistakes of the last step.

    Args:
        result: `RunResult` with a confusion matrix.
    """
    names, confusion = seen_names(result), result.confusion
    wrong = _mistakes(confusion)
    # Equal counts in order of arrival.
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [divmod(int(place), len(wrong)) for place in order]
    rows = [
        [
            names[true],
            names[guess],
            str(int(wrong[true, guess])),
            percent(wrong[true, guess] / confusion[true].sum()),
        ]
        for true, guess in pairs
        if wrong[true, guess]
    ]
    return ["class", "taken for", "images", "share of the class"], rows


def _enumerated(names):
    """Returns names and the commas between them."""
    return [part for name in names for part in (", ", name)][1:]


def _mistakes(confusion):
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    return wrong


def _accuracy_at(result, step, label):
    table = result.per_class_accuracy
    known = table is not None and step < table.shape[0] and label < table.shape[1]
    return percent(table[step, label]) if known else UNDEFINED


def _entry(values, label):
    known = values is not None and label < len(values)
    return str(values[label]) if known else UNDEFINED

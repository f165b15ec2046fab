"""Remarks on single runs of a comparison: what its numbers do not tell."""

import numpy as np

from bsce_keras.records.protocol import names_by_arrival
from bsce_keras.reports.groups import seedless
from bsce_keras.reports.paper_results import published_remarks
from bsce_keras.runtime.text import listed, printable


def remarks(results, published=None):
    """Returns remarks on single runs of `comparison`, a sentence each."""
    # A matrix tells by itself what it could not finish.
    unfinished = [] if published else _unfinished(results)
    found = _repeated(results) + _skipped(results) + _unscored(results) + unfinished
    if published:
        found += published_remarks([result.config for result in results])
    return found


def _repeated(results):
    """Returns a sentence for runs that share configuration and seed."""
    seeds = {}
    for result in results:
        seed = result.config["training"]["seed"]
        key = seedless(result), result.images, seed
        seeds.setdefault(key, []).append(printable(result.run_dir))
    return [
        f"{', '.join(run_dirs)}: the same configuration and seed {seed}, so their "
        "spread says nothing about seeds."
        for (*_, seed), run_dirs in seeds.items()
        if len(run_dirs) > 1
    ]


def _skipped(results):
    return [
        f"{printable(result.run_dir)}: {len(skipped)} image files could not be "
        "decoded and were left out (named in summary.json)."
        for result in results
        if result.summary and (skipped := result.summary.get("skipped_images"))
    ]


def _unfinished(results):
    return [
        f"Left out, not complete: {printable(result.run_dir)} ({len(result.steps)} of "
        f"{1 + len(result.config['stream']['increments'])} steps). The command in its "
        "flagfile.flags resumes it."
        for result in results
        if not result.summary
    ]


def _unscored(results):
    """Returns a sentence for runs with seen classes that had no images to score."""
    found = []
    for result in results:
        if result.per_class_accuracy is None:
            continue
        names = names_by_arrival(result.config["stream"])
        first = {}
        for step, line in enumerate(result.steps):
            scores = result.per_class_accuracy[step, : line["num_classes"]]
            for column in np.flatnonzero(np.isnan(scores)):
                first.setdefault(names[column], step)
        if first:
            told = [f"{name} (from step {step} on)" for name, step in first.items()]
            found.append(
                f"{printable(result.run_dir)}: accuracies leave out classes without "
                f"images to score: {listed(told)}."
            )
    return found

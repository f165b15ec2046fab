"""Results of a matrix of runs: results.md for reading, results.json for computing."""

import os

from bsce_keras.reports.groups import group_runs
from bsce_keras.reports.paper_results import published_average, published_scores
from bsce_keras.reports.tables import SCORES, markdown_table, mean_and_deviation
from bsce_keras.runtime.files import write_atomically, write_json


def write_results(runs_dir, results, failures):
    """Writes results.md and results.json, each whole or not at all.

    Accuracies are percent in results.md and fractions in results.json.

    Args:
        runs_dir: folder of the matrix, which exists.
        results: a `RunResult` per cell; without a summary where it is not finished.
        failures: what went wrong, by run folder.
    """
    write_json(
        os.path.join(runs_dir, "results.json"),
        {
            "rows": [_row(group) for group in group_runs(results)],
            "cells": [_cell(result, failures) for result in results],
        },
    )
    write_atomically(
        os.path.join(runs_dir, "results.md"), _markdown(results, failures) + "\n"
    )


def _markdown(results, failures):
    failed = [f"- {run_dir}: {error}" for run_dir, error in failures.items()]
    finished = sum(result.summary is not None for result in results)
    paragraphs = [
        "# Results",
        f"{finished} of {len(results)} runs are finished.",
        markdown_table(results, published_scores),
    ]
    if failed:
        paragraphs.append("Failed:\n\n" + "\n".join(failed))
    return "\n\n".join(paragraphs)


def _row(group):
    """Returns a row of the table, unrounded."""
    config = group.runs[0].config
    percent = published_average(config)
    scores = {
        name: _named(
            mean_and_deviation([run.summary.get(name) for run in group.finished])
        )
        for name in SCORES.values()
    }
    return {
        "dataset": config["stream"]["dataset"],
        "validation_share": config["stream"]["validation_share"],
        "num_base_classes": config["stream"]["num_base_classes"],
        "increments": list(config["stream"]["increments"]),
        "method": config["method"]["name"],
        "classification_loss": config["method"]["classification_loss"],
        "replay_sampling": config["training"]["replay_sampling"],
        "balanced_finetuning": config["training"].get("finetuning") is not None,
        "schedule_scale": config["training"]["schedule_scale"],
        "precision": config["training"]["precision"],
        "other": group.columns["other"],
        "seeds": [run.config["training"]["seed"] for run in group.finished],
        "num_runs_wanted": len(group.runs),
        **scores,
        "paper_average_incremental_accuracy": (
            None if percent is None else round(percent / 100, 4)
        ),
        "paper_schedule_scale": 1.0,
    }


def _named(mean_and_deviation):
    return dict(zip(("mean", "standard_deviation"), mean_and_deviation, strict=True))


def _cell(result, failures):
    summary = result.summary or {}
    return {
        "run_dir": result.run_dir,
        "base_run_dir": result.config["base_run_dir"],
        "seed": result.config["training"]["seed"],
        "finished": result.summary is not None,
        "num_finished_steps": len(result.steps),
        "error": failures.get(result.run_dir),
        **{name: summary.get(name) for name in SCORES.values()},
    }

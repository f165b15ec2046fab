"""Figures and HTML page of one finished run, written into its folder."""

import dataclasses
import pathlib

from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.files import write_atomically


def write_run_report(run_dir, summary):
    """Draws the figures of a run and writes its report.html.

    Args:
        run_dir: folder with the records of all steps; summary.json is not needed.
        summary: as `RunRecords.summary` returns it.
    """
    # Matplotlib takes a second to load, so it is not loaded before it is needed.
    from bsce_keras.reports import page, run_figures

    run_dir = pathlib.Path(run_dir)
    folder = run_dir / "figures"
    folder.mkdir(exist_ok=True)
    result = dataclasses.replace(read_run(run_dir), summary=summary)
    pictures = run_figures.draw_run(result, lambda name: folder / f"{name}.png")
    text = page.html_page(run_dir.name, [result], {}, [pictures])
    write_atomically(run_dir / "report.html", text)

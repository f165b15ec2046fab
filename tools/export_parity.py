"""Compares the formats of exports on real images: `python -m tools.export_parity`.

Prints a Markdown table: the largest difference of probabilities from the SavedModel,
the share of images with the same class, bytes, and milliseconds an image.
"""

import argparse
import os
import pathlib
import sys
import time

import numpy as np

from bsce_keras.config.export_formats import FORMATS, SAVED_MODEL
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.records.versions import versions

_HEAD = ("export", "file", "largest difference", "same class", "bytes", "ms an image")
_BATCH = 50


def main():
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exports", nargs="+", help="folders of exports")
    parser.add_argument("--images", required=True, help="folder of image files")
    parser.add_argument("--most", type=int, default=1000, help="images at most")
    given = parser.parse_args()
    paths = sorted(p for p in pathlib.Path(given.images).rglob("*") if p.is_file())
    encoded = [path.read_bytes() for path in paths[: given.most]]
    print(f"{len(encoded)} images, {versions().get('cpu')}\n")
    print(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    for export in given.exports:
        for row in parity(export, encoded):
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    return 0


def parity(export, encoded):
    """Yields a row for the SavedModel of an export and for each of its files."""
    expected, seconds = _predicted(export, encoded)
    yield _row(export, SAVED_MODEL, expected, expected, _bytes(export), seconds)
    for file in (file for one in FORMATS.values() for file in one.files):
        path = os.path.join(export, file)
        if os.path.isfile(path):
            actual, seconds = _predicted(path, encoded)
            size = os.path.getsize(path)
            yield _row(export, file, expected, actual, size, seconds)


def _row(export, file, expected, actual, size, seconds):
    same = (expected.argmax(axis=1) == actual.argmax(axis=1)).mean()
    difference = np.abs(expected - actual).max()
    milliseconds = f"{1000 * seconds / len(actual):.2f}"
    return export, file, f"{difference:.1e}", f"{same:.2%}", f"{size:,}", milliseconds


def _predicted(path, encoded):
    """Returns probabilities, and the seconds of all batches after the first one."""
    model = load_model(path)
    batches = [encoded[i : i + _BATCH] for i in range(0, len(encoded), _BATCH)]
    model.outputs_of_encoded(batches[0])
    begin = time.perf_counter()
    outputs = [model.outputs_of_encoded(batch)["probabilities"] for batch in batches]
    return np.concatenate(outputs), time.perf_counter() - begin


def _bytes(export):
    """Returns the size of the SavedModel: its graph and its variables."""
    folder = pathlib.Path(export)
    files = [folder / "saved_model.pb", *(folder / "variables").iterdir()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    sys.exit(main())

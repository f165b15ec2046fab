"""Export of a finished step: one folder of its formats, with checksums."""

import contextlib
import os
import shutil

from bsce_keras.config.export_formats import FORMATS, SAVED_MODEL
from bsce_keras.evaluation.export_folder import CHECKSUMS, DESCRIPTION, file_checksums
from bsce_keras.exports.formats import write_formats
from bsce_keras.exports.saved_model import write_saved_model
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime.files import sync_folder, write_json
from bsce_keras.runtime.tensorflow_errors import as_os_errors


def export_step(
    classifier, image, class_names, path, formats=(SAVED_MODEL,), card=None
):
    """Writes the export of a step as a whole, with checksums of its files.

    The SavedModel needs only TensorFlow (`tf.saved_model.load`):

    - `serving_default` maps uint8 images `(batch, height, width, channels)` to
      `probabilities (batch, num_classes)` and `embedding (batch, d)`, the features
      before the head.
    - `serve_encoded` maps bytes of image files `(batch,)` to the same outputs. A file
      that cannot be decoded fails the whole batch.
    - `class_names` is a string variable.
    - `stored_size` is an integer variable: the side of the squares that the model
      makes of every image.

    `formats.served_network` describes the files of the other formats. `model.json` has
    the class names, the inputs and the outputs of all of them.

    Args:
        classifier: `keras.Model` from images to named outputs.
        image: `ImageSpec`.
        class_names: names in the order of the probabilities.
        path: folder to write, made with its parents; an existing one is replaced.
        formats: keys of `FORMATS`.
        card: function of a folder that writes the model card into it; None writes
            none.

    Raises:
        OSError: the disk is full or cannot be written. Partial files are removed.
        RequestError: another process writes this folder.
    """
    with _replaced_as_a_whole(path) as folder:
        with as_os_errors(folder):
            if SAVED_MODEL in formats:
                write_saved_model(classifier, image, class_names, folder)
            write_formats(formats, classifier, image, folder)
        description = _description(classifier, image, class_names, formats)
        write_json(os.path.join(folder, DESCRIPTION), description)
        if card:
            card(folder)
        write_json(os.path.join(folder, CHECKSUMS), file_checksums(folder))
        _sync(folder)


@contextlib.contextmanager
def _replaced_as_a_whole(path):
    """Yields a new folder, which takes the place of `path` if nothing fails."""
    temporary = f"{path}.tmp"
    if os.path.islink(temporary):
        os.unlink(temporary)
    with run_lock(temporary, "--output"):
        new = os.path.join(temporary, "new")
        try:
            # A process that was killed may have left a part of an export.
            shutil.rmtree(new, ignore_errors=True)
            os.makedirs(new)
            yield new
            shutil.rmtree(path, ignore_errors=True)
            os.replace(new, path)
        finally:
            # Free the space of a full disk.
            shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(os.path.dirname(path) or ".")


def _description(classifier, image, class_names, formats):
    """Returns the content of `model.json`."""
    side, channels = image.stored_size, image.channels
    outputs = {"probabilities": ["batch", len(class_names)]}
    if "features" in classifier.output:
        outputs["embedding"] = ["batch", classifier.output["features"].shape[-1]]
    return {
        "class_names": list(class_names),
        "formats": {name: list(FORMATS[name].files) for name in formats},
        "input": {
            "name": "images",
            "dtype": "uint8",
            "shape": ["batch", side, side, channels],
            "values": "grey" if channels == 1 else "RGB, 0 to 255",
            "max_image_pixels": image.max_pixels,
            "preparation": (
                f"Resize the short side to {side} pixels (bilinear, antialiased), and "
                f"cut out the centre square of {side} x {side}. The SavedModel does so "
                "itself. Normalisation is part of every model."
            ),
        },
        "outputs": outputs,
    }


def _sync(path):
    """Flushes every file below a folder to the disk."""
    for folder, _, files in os.walk(path):
        for file in files:
            with open(os.path.join(folder, file), "rb") as opened:
                os.fsync(opened.fileno())
        sync_folder(folder)

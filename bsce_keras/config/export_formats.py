"""Table of the formats that a trained step is exported in. Imports no TensorFlow.

A new format needs its function in `bsce_keras.exports.formats` and its entry here.
"""

import dataclasses

from bsce_keras.runtime.extras import missing_packages
from bsce_keras.runtime.text import did_you_mean

SAVED_MODEL = "saved_model"


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """Properties of a format.

    Args:
        files: names of its files in the folder of the export. The first one holds the
            float network.
        write: "module:function" of the function that writes a file from `(network,
            path)`, once for each file; None for the SavedModel, which is a folder.
        packages: modules that writing needs and this package does not install.
        reader: module that runs the files, if it is not installed with this package.
        extra: extra of this package that installs `packages` and `reader`.
    """

    files: tuple[str, ...] = ()
    write: str | None = None
    packages: tuple[str, ...] = ()
    reader: str | None = None
    extra: str | None = None


FORMATS = {
    SAVED_MODEL: ExportFormat(),
    "litert": ExportFormat(
        ("model.tflite", "model_int8.tflite"),
        "bsce_keras.exports.formats:write_litert",
        reader="ai_edge_litert",
        extra="litert",
    ),
    "onnx": ExportFormat(
        ("model.onnx",),
        "bsce_keras.exports.formats:write_onnx",
        packages=("onnx", "tf2onnx"),
        reader="onnxruntime",
        extra="onnx",
    ),
    "keras": ExportFormat(("model.keras",), "bsce_keras.exports.formats:write_keras"),
}


def split_formats(text):
    """Returns the names in a text such as `saved_model,onnx`, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def format_problems(flag, text):
    """Returns the problems of a list of formats as sentences.

    Args:
        flag: name of the flag, for messages.
        text: names of formats, separated by commas.
    """
    problems = []
    for name in split_formats(text):
        if name not in FORMATS:
            problems.append(
                f"--{flag} must list some of {', '.join(FORMATS)}, separated by commas."
                f" Received: {name!r}.{did_you_mean(name, FORMATS)}"
            )
            continue
        form = FORMATS[name]
        problems += missing_packages(f"--{flag}={name}", form.packages, form.extra)
    return problems

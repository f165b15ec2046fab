"""Exported files of LiteRT, ONNX and Keras in use."""

import functools
import importlib
import os

from bsce_keras.config import ImageSpec
from bsce_keras.evaluation.export_folder import DESCRIPTION, max_image_pixels
from bsce_keras.evaluation.loaded_model import LoadedModel
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import read_json
from bsce_keras.runtime.tensorflow_import import import_keras


class PortableModel(LoadedModel):
    """Loaded file `model.tflite`, `model.onnx` or `model.keras` of an export.

    The file takes squares of the stored size. TensorFlow decodes and resizes images
    before, as the SavedModel does.

    Args:
        path: the file; `model.json` lies beside it.

    Raises:
        RequestError: `model.json` is damaged, or the file cannot be loaded.
    """

    def __init__(self, path):
        try:
            folder = os.path.dirname(path)
            facts = read_json(os.path.join(folder, DESCRIPTION))
            *_, side, channels = facts["input"]["shape"]
            self.class_names = tuple(facts["class_names"])
            self.stored_size, self.channels = int(side), int(channels)
            self.max_pixels = max_image_pixels(folder)
            self._image = ImageSpec(
                self.stored_size,
                self.stored_size,
                self.channels,
                max_pixels=self.max_pixels,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"{DESCRIPTION} beside {path} is damaged. Export the step again."
            ) from error
        # TensorFlow decodes and resizes the images of every format. It may load Keras,
        # whose settings must be there before.
        import_keras()
        try:
            self._run = load_runner(path)
        except Exception as error:  # The runtimes document no set of exceptions.
            raise RequestError(
                f"{path} cannot be loaded: {error}. Use another format of the step, "
                "such as saved_model, or export the step again."
            ) from error

    def outputs_of_images(self, images):
        # Imported here, because only a loaded model needs TensorFlow.
        from bsce_keras.data.decode import fit_to_square

        return self._run(fit_to_square(images, self.stored_size).numpy())

    def outputs_of_encoded(self, encoded):
        return self._run(self._decoded(encoded).numpy())

    @functools.cached_property
    def _decoded(self):
        """Function from the bytes of files to squares, traced once."""
        import tensorflow as tf

        from bsce_keras.data.splits import squares

        return tf.function(
            lambda encoded: squares(encoded, self._image),
            input_signature=[tf.TensorSpec((None,), tf.string)],
            autograph=False,
        )


def load_runner(path):
    """Loads a file of another format than the SavedModel by the runtime of its format.

    Args:
        path: `NAME.tflite`, `NAME.onnx` or `NAME.keras`.

    Returns:
        Function from uint8 squares `(batch, side, side, channels)` to arrays by name
        of the output.
    """
    return _RUNNERS[os.path.splitext(path)[1]](path)


def _litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    runner = interpreter.get_signature_runner("serving_default")
    return lambda images: runner(images=images)


def _onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(
        zip(names, session.run(None, {"images": images}), strict=True)
    )


def _keras(path):
    import_keras()
    import keras

    # Registers heads of this package, which a file may hold besides Keras's own layers.
    importlib.import_module("bsce_keras.models.heads")
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda images: {
        name: keras.ops.convert_to_numpy(output)
        for name, output in model(images, training=False).items()
    }


_RUNNERS = {".tflite": _litert, ".onnx": _onnx, ".keras": _keras}

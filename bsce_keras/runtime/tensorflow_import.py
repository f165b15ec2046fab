"""Import of TensorFlow, with oneDNN and without start-up notices."""

import contextlib
import glob
import importlib
import os
import platform
import sys
import tempfile

from bsce_keras.runtime.errors import RequestError

_BACKEND = "KERAS_BACKEND"
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def prefer_onednn():
    """Turns oneDNN on for every x86 CPU, unless the environment sets it.

    By default, TensorFlow 2.21 turns oneDNN on only for x86 CPUs with AMX,
    AVX512_VNNI, AVX512_BF16 or AVX_VNNI (`DefaultOneDnnPolicy` in its
    core/util/port.cc). Without oneDNN, training in float32 takes at least twice as
    long. TensorFlow reads the setting once, when it loads. If it is already loaded,
    this function does nothing. On other CPUs, TensorFlow's default stays.
    """
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if is_x86 and "tensorflow" not in sys.modules:
        os.environ.setdefault(_ONEDNN, "1")


def uses_onednn():
    """Returns True if TensorFlow uses oneDNN in this process.

    The environment may have changed since TensorFlow read it. Only a private function
    of TensorFlow returns the setting in use.

    Returns:
        True or False; None if TensorFlow is not loaded or the function is missing.
    """
    if sys.modules.get("tensorflow") is None:
        return None
    try:
        module = importlib.import_module("tensorflow.python.util._pywrap_util_port")
        return bool(module.IsMklEnabled())
    except (AttributeError, ImportError):
        return None


def import_tensorflow():
    """Imports TensorFlow with oneDNN; silently on machines without NVIDIA devices.

    TensorFlow prints some start-up notices before it reads its log level (CUDA drivers
    are missing, oneDNN is on). On machines without NVIDIA devices they are held back,
    and shown only if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    prefer_onednn()
    if glob.glob("/dev/nvidia*"):
        import tensorflow  # noqa: F401

        return
    with _held_back_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


def import_keras():
    """Imports TensorFlow, and Keras with the settings that training needs.

    The settings of the user's keras.json and of `KERAS_BACKEND` do not count, unless
    the process has loaded Keras before; `refuse_other_keras` judges these.
    """
    is_loaded = "keras" in sys.modules
    if not is_loaded:
        os.environ[_BACKEND] = "tensorflow"
    import_tensorflow()
    import keras

    if not is_loaded:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")


def refuse_other_backend():
    """Refuses a backend that `KERAS_BACKEND` names, before Keras loads it.

    Raises:
        RequestError: it is not TensorFlow.
    """
    if "keras" not in sys.modules:
        _refuse({"backend": (os.environ.get(_BACKEND) or "tensorflow", "tensorflow")})


def refuse_other_keras():
    """Refuses settings of Keras that training does not work with.

    Raises:
        RequestError: naming each setting, its value and the value that it needs.
    """
    import keras

    _refuse(
        {
            "backend": (keras.config.backend(), "tensorflow"),
            "image_data_format": (keras.config.image_data_format(), "channels_last"),
            "floatx": (keras.config.floatx(), "float32"),
        }
    )


def _refuse(settings):
    wrong = [
        f"{name} {value} (needed: {needed})"
        for name, (value, needed) in settings.items()
        if value != needed
    ]
    if wrong:
        raise RequestError(
            f"Keras is set to {', '.join(wrong)}. Change it in ~/.keras/keras.json, by "
            f"{_BACKEND} or by keras.config."
        )


@contextlib.contextmanager
def _held_back_stderr():
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

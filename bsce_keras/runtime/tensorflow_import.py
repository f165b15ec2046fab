"""Import of TensorFlow: with oneDNN, and without the notices it starts with."""

import contextlib
import glob
import os
import platform
import sys
import tempfile

from bsce_keras.runtime.errors import RequestError

_BACKEND = "KERAS_BACKEND"
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def prefer_onednn():
    """Asks TensorFlow for oneDNN on every x86 CPU, unless the user set it otherwise.

    TensorFlow 2.21 itself turns oneDNN on only where an x86 CPU has AMX or one of the
    instruction sets AVX512_VNNI, AVX512_BF16 and AVX_VNNI (`DefaultOneDnnPolicy` in
    its core/util/port.cc). Without oneDNN, training in float32 takes at least twice
    as long. TensorFlow reads the setting once, when it loads. In a process that has
    loaded it before, this function does nothing. On other CPUs the default of
    TensorFlow stays.
    """
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if is_x86 and "tensorflow" not in sys.modules:
        os.environ.setdefault(_ONEDNN, "1")


def uses_onednn():
    """Returns the setting of oneDNN that TensorFlow runs with in this process.

    The environment may have changed since TensorFlow read it, so TensorFlow is asked.
    It tells this only by a private function.

    Returns:
        True or False; None if TensorFlow is not loaded, or does not tell.
    """
    if "tensorflow" not in sys.modules:
        return None
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (AttributeError, ImportError):
        return None


def import_tensorflow():
    """Imports TensorFlow with oneDNN; on a machine without NVIDIA devices, silently.

    Some of its start-up notices (no CUDA drivers, oneDNN is on) come before its log
    level is read. They are held back where no GPU can be missing, and shown after all
    if the import fails.
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

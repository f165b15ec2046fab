"""Import of TensorFlow, with oneDNN and without start-up notices."""

import contextlib
import glob
import os
import platform
import sys
import tempfile

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
    if "tensorflow" not in sys.modules:
        return None
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
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

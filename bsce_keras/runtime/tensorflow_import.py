"""TensorFlow without the notices it prints before anyone can ask it not to."""

import contextlib
import glob
import os
import sys
import tempfile


def import_tensorflow():
    """Imports TensorFlow; on a machine without NVIDIA devices, silently.

    Some of its start-up notices (no CUDA drivers, oneDNN is on) come before its log
    level is read. They are held back where no GPU can be missing, and shown after all
    if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
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

"""Class-incremental learning in Keras 3 with Balanced Softmax Cross-Entropy.

Public names load on first use, so that `import bsce_keras` does not import TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsce_keras.classifiers import load_classifier
    from bsce_keras.config import ExperimentConfig
    from bsce_keras.experiment import run_experiment
    from bsce_keras.options.make_config import make_config

__version__ = "0.1.0"

_EXPORTS = {
    "ExperimentConfig": "bsce_keras.config",
    "make_config": "bsce_keras.options.make_config",
    "run_experiment": "bsce_keras.experiment",
    "load_classifier": "bsce_keras.classifiers",
}
__all__ = [
    "ExperimentConfig",
    "__version__",
    "load_classifier",
    "make_config",
    "run_experiment",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("run_experiment", "load_classifier"):
        from bsce_keras.runtime.tensorflow_import import (
            prefer_onednn,
            refuse_other_backend,
        )

        refuse_other_backend()
        prefer_onednn()  # TensorFlow reads it when it loads, which is next.
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})

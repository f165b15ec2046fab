"""Configuration of one experiment in final values. Imports no TensorFlow.

Each section is a frozen dataclass, checked and JSON-able. A default beside a field
holds for every method and data set. `options.make_config` fills in all other values and
scales the schedules. `setting` names the check of a field, its flag if that differs,
and fields that do not decide the outcome.
"""

from bsce_keras.config.experiment_config import SETTINGS, ExperimentConfig
from bsce_keras.config.image_spec import ImageSpec
from bsce_keras.config.memory import MemoryConfig, MemoryUse, num_set_aside
from bsce_keras.config.method import MethodConfig
from bsce_keras.config.model import ModelConfig
from bsce_keras.config.stream import StreamConfig
from bsce_keras.config.training import FinetuningConfig, TrainingConfig

__all__ = [
    "SETTINGS",
    "ExperimentConfig",
    "FinetuningConfig",
    "ImageSpec",
    "MemoryConfig",
    "MemoryUse",
    "MethodConfig",
    "ModelConfig",
    "StreamConfig",
    "TrainingConfig",
    "num_set_aside",
]

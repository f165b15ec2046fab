"""Configuration of one experiment in final values. Imports no TensorFlow."""

from bsce_keras.config.experiment_config import SETTINGS, ExperimentConfig
from bsce_keras.config.image_spec import ImageSpec
from bsce_keras.config.sections import (
    MemoryConfig,
    MemoryUse,
    MethodConfig,
    ModelConfig,
    StreamConfig,
    num_set_aside,
)
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

"""Fine-tuning on new images and the memory, without distillation: a lower bound."""

from bsce_keras.methods.base import Method


class Finetune(Method):
    """Only the classification term; every method should do better."""

    uses_teacher = False

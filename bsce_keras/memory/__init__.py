"""The replay memory and the selection of exemplars."""

from bsce_keras.memory.selection import herding

__all__ = ["herding"]

"""Basic residual blocks and stages, shared by all ResNets."""

import keras

from bsce_keras.models.layers import (
    FusedBatchNormalization,
    SubsampleAndPadChannels,
    convolution,
)


class ResidualStages:
    """Adds stages of basic blocks to a graph of layers.

    A block is conv-BN-ReLU-conv-BN, plus shortcut. The sum at the end of a stage is a
    layer named `stage1`, `stage2`, ... Its output, before any ReLU, is the stage's map.

    Args:
        variant: a `Variant`.
        num_stages: number of stages. The variant treats the last block of the last
            stage separately.
        synchronized: batch statistics are taken over all replicas.
    """

    def __init__(self, variant, num_stages, synchronized=False):
        self.variant = variant
        self.num_stages = num_stages
        self.synchronized = synchronized
        self.stage = 0

    def normalize(self, inputs, **kwargs):
        return FusedBatchNormalization(synchronized=self.synchronized, **kwargs)(inputs)

    def add(self, inputs, filters, num_blocks, strides=1):
        """Adds a stage; `strides` applies to its first block."""
        self.stage += 1
        outputs = inputs
        for block in range(num_blocks):
            is_last_of_stage = block == num_blocks - 1
            is_last = is_last_of_stage and self.stage == self.num_stages
            name = f"stage{self.stage}" if is_last_of_stage else None
            outputs = self._block(outputs, filters, 1 if block else strides, name)
            if self.variant.ends_with_relu(is_last_of_stage, is_last):
                outputs = keras.layers.ReLU()(outputs)
        return outputs

    def _block(self, inputs, filters, strides, name):
        outputs = convolution(inputs, filters, 3, strides)
        outputs = keras.layers.ReLU()(self.normalize(outputs))
        outputs = convolution(outputs, filters, 3)
        outputs = self.normalize(outputs, zero_gamma=self.variant.zero_gamma)
        shortcut = self._shortcut(inputs, filters, strides)
        return keras.layers.Add(name=name)([outputs, shortcut])

    def _shortcut(self, inputs, filters, strides):
        if strides == 1 and inputs.shape[-1] == filters:
            return inputs
        if self.variant.shortcut == "subsample":
            return SubsampleAndPadChannels()(inputs)
        return self.normalize(convolution(inputs, filters, 1, strides))

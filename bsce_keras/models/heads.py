"""Heads: from features to logits, able to grow by the classes of a step."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bsce_keras")
class LinearHead(keras.layers.Layer):
    """`logits = features W + b`, in float32 whatever the backbone computes in.

    Weights and biases start uniform in +-1/sqrt(d), PyTorch's default, which the
    references use; Keras's own would be Glorot uniform and zero.

    Args:
        num_classes: columns of the logits.
    """

    def __init__(self, num_classes, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = num_classes

    def build(self, input_shape):
        bound = input_shape[-1] ** -0.5
        self.kernel = self._weight("kernel", (input_shape[-1], self.num_classes), bound)
        self.bias = self._weight("bias", (self.num_classes,), bound)

    def _weight(self, name, shape, bound):
        # An initializer of its own: a Keras initializer repeats its numbers, and the
        # bias would equal the kernel's first row.
        uniform = keras.initializers.RandomUniform(-bound, bound)
        return self.add_weight(name=name, shape=shape, initializer=uniform)

    def call(self, features):
        return {"logits": ops.matmul(features, self.kernel) + self.bias}

    def grow_from(self, old):
        """Takes over the columns of a head of fewer classes; new ones stay random.

        Source: LUCIR `class_incremental_cifar100.py`, which copies weights and biases.
        """
        for mine, theirs in zip(self.weights, old.weights, strict=True):
            values = mine.numpy().copy()
            values[..., : old.num_classes] = theirs.numpy()
            mine.assign(values)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}

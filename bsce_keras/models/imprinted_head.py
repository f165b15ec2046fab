"""ImprintedHead: a trained linear head and columns that were taken from features."""

import keras
from keras import ops

from bsce_keras.models.plain import dense


@keras.saving.register_keras_serializable(package="bsce_keras")
class ImprintedHead(keras.layers.Layer):
    """Linear head of the base classes, with imprinted columns for later classes.

        z_c = f . w_c + b_c           for base classes
        z_c = f / |f| . v_c + a_c     for imprinted classes

    Its weights are assigned, not trained. It is always in float32.

    Args:
        num_base_classes: number of columns of the linear head.
        num_imprinted: number of further columns.

    Attributes:
        kernel, bias: w and b, shapes `(d, num_base_classes)` and `(num_base_classes,)`.
        unit_kernel, unit_bias: v and a, shapes `(d, num_imprinted)` and
            `(num_imprinted,)`.
    """

    def __init__(self, num_base_classes, num_imprinted, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **{"trainable": False, **kwargs})
        self.num_base_classes = num_base_classes
        self.num_imprinted = num_imprinted

    @property
    def num_classes(self):
        """Number of columns of the logits."""
        return self.num_base_classes + self.num_imprinted

    def build(self, input_shape):
        sizes = {"": self.num_base_classes, "unit_": self.num_imprinted}
        for prefix, size in sizes.items():
            shape = (input_shape[-1], size)
            for name, part in ((f"{prefix}kernel", shape), (f"{prefix}bias", (size,))):
                weight = self.add_weight(
                    name=name, shape=part, initializer="zeros", trainable=False
                )
                setattr(self, name, weight)

    def call(self, features):
        unit = ops.normalize(features, axis=-1)
        linear = ops.matmul(features, self.kernel) + self.bias
        imprinted = ops.matmul(unit, self.unit_kernel) + self.unit_bias
        return {"logits": ops.concatenate([linear, imprinted], axis=-1)}

    def plain(self, features):
        """Applies dense layers with the same weights; see `plain`."""
        kernel, bias, unit_kernel, unit_bias = self.get_weights()
        unit = keras.layers.UnitNormalization()(features)
        columns = [dense(features, kernel, bias), dense(unit, unit_kernel, unit_bias)]
        return {"logits": keras.layers.Concatenate()(columns)}

    def get_config(self):
        return {
            **super().get_config(),
            "num_base_classes": self.num_base_classes,
            "num_imprinted": self.num_imprinted,
        }

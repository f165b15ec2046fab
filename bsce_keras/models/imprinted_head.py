"""ImprintedHead: trained linear columns, and columns that were taken from features."""

import keras
import numpy as np
from keras import ops

from bsce_keras.models.heads import LinearHead
from bsce_keras.models.plain import dense


@keras.saving.register_keras_serializable(package="bsce_keras")
class ImprintedHead(LinearHead):
    """Linear head in which imprinted classes see features of length 1.

        z_c = f . w_c + b_c           for trained classes
        z_c = f / |f| . w_c + b_c     for imprinted classes

    Its weights are assigned, not trained.

    Args:
        num_classes: number of columns of the logits.

    Attributes:
        kernel, bias: w and b, shapes `(d, num_classes)` and `(num_classes,)`.
        is_imprinted: 1 for imprinted classes, else 0, shape `(num_classes,)`.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.is_imprinted = self.add_weight(
            name="is_imprinted",
            shape=(self.num_classes,),
            initializer="ones",
            trainable=False,
        )

    def call(self, features):
        unit = ops.normalize(features, axis=-1)
        linear = ops.matmul(features, self.kernel)
        imprinted = ops.matmul(unit, self.kernel)
        logits = ops.where(self.is_imprinted > 0, imprinted, linear)
        return {"logits": logits + self.bias}

    def plain(self, features):
        """Applies dense layers with the same weights; see `plain`."""
        kernel, bias, is_imprinted = self.get_weights()
        unit = keras.layers.UnitNormalization()(features)
        parts = [
            dense(features, kernel * (1 - is_imprinted), bias),
            dense(unit, kernel * is_imprinted),
        ]
        return {"logits": keras.layers.Add()(parts)}

    def grow_from(self, old):
        """Copies the columns of a head with fewer classes; new ones are imprinted."""
        super().grow_from(old)
        values = self.is_imprinted.numpy()
        values[: old.num_classes] = np.asarray(getattr(old, "is_imprinted", 0.0))
        self.is_imprinted.assign(values)

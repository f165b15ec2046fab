"""Heads: layers from features to logits that grow by the classes of a step."""

import keras
import numpy as np
from keras import ops

from bsce_keras.models.plain import dense

_NORM_FLOOR = 1e-12


@keras.saving.register_keras_serializable(package="bsce_keras")
class LinearHead(keras.layers.Layer):
    """Linear head `logits = features W + b`, always in float32.

    Weights and biases start uniform in +-1/sqrt(d). This is PyTorch's default, which
    the references use. Keras's defaults are Glorot uniform and zero.

    Args:
        num_classes: number of columns of the logits.
        kernel_constraint: constraint of W after updates, as of `keras.layers.Dense`.
    """

    def __init__(self, num_classes, kernel_constraint=None, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = num_classes
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        bound = input_shape[-1] ** -0.5
        shape = (input_shape[-1], self.num_classes)
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=_uniform(bound),
            constraint=self.kernel_constraint,
        )
        self.bias = self.add_weight(
            name="bias", shape=shape[1:], initializer=_uniform(bound)
        )

    def call(self, features):
        return {"logits": ops.matmul(features, self.kernel) + self.bias}

    def plain(self, features):
        """Applies a dense layer with the same weights; see `plain`."""
        return {"logits": dense(features, *self.get_weights()[:2])}

    def grow_from(self, old):
        """Copies the columns of a head with fewer classes; new ones stay random.

        Source: LUCIR `class_incremental_cifar100.py`, which copies weights and biases.
        """
        for mine, theirs in zip(self.class_weights, old.class_weights, strict=True):
            values = mine.numpy().copy()
            values[..., : old.num_classes] = theirs.numpy()
            mine.assign(values)

    @property
    def class_weights(self):
        """Per-class weights; balanced fine-tuning trains only these."""
        return [self.kernel, self.bias]

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


@keras.saving.register_keras_serializable(package="bsce_keras")
class BiasCorrectedHead(LinearHead):
    """BiC's head: a linear head that maps new logits z to `scale z + offset`.

    Scale and offset are not trainable. They are 1 and 0 until they are assigned. A head
    that grows from this one copies the uncorrected columns, and starts at 1 and 0.

    Args:
        num_old_classes, num_new_classes: numbers of columns of the logits. The new ones
            are corrected.
    """

    def __init__(self, num_old_classes, num_new_classes, dtype="float32", **kwargs):
        super().__init__(num_old_classes + num_new_classes, dtype=dtype, **kwargs)
        self.num_old_classes = num_old_classes
        self.num_new_classes = num_new_classes

    def build(self, input_shape):
        super().build(input_shape)
        self.scale = self._correction("scale", "ones")
        self.offset = self._correction("offset", "zeros")

    def _correction(self, name, initializer):
        return self.add_weight(
            name=name, shape=(), initializer=initializer, trainable=False
        )

    def call(self, features):
        logits = super().call(features)["logits"]
        old, new = ops.split(logits, [self.num_old_classes], axis=-1)
        return {"logits": ops.concatenate([old, self.scale * new + self.offset], -1)}

    def plain(self, features):
        """Applies a dense layer that includes the correction; see `plain`."""
        numbers = self.num_old_classes, self.num_new_classes
        scale = np.repeat([1.0, float(self.scale)], numbers)
        offset = np.repeat([0.0, float(self.offset)], numbers)
        kernel, bias = self.kernel.numpy(), self.bias.numpy()
        return {"logits": dense(features, kernel * scale, bias * scale + offset)}

    def get_config(self):
        config = super().get_config()
        del config["num_classes"]
        return {
            **config,
            "num_old_classes": self.num_old_classes,
            "num_new_classes": self.num_new_classes,
        }


@keras.saving.register_keras_serializable(package="bsce_keras")
class NearestMeanHead(keras.layers.Layer):
    """iCaRL's classifier: predicts the class with the mean nearest to the features.

        logit_c = -|| f/|f| - mean_c ||^2

    Args:
        num_classes: number of columns of the logits.

    Attributes:
        means: weight of shape `(num_classes, d)`, not trainable. Callers assign unit
            vectors.
    """

    def __init__(self, num_classes, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = num_classes

    def build(self, input_shape):
        self.means = self.add_weight(
            name="means", shape=(self.num_classes, input_shape[-1]), trainable=False
        )

    def call(self, features):
        cosines = ops.matmul(normalized(features), ops.transpose(self.means))
        return {"logits": 2.0 * cosines - 2.0}

    def plain(self, features):
        """Applies a dense layer to features of length 1; see `plain`."""
        means = self.means.numpy().T
        unit = keras.layers.UnitNormalization()(features)
        return {"logits": dense(unit, 2.0 * means, np.full(self.num_classes, -2.0))}

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


class VectorHead(keras.layers.Layer):
    """Base of heads that compare the direction of the features with class vectors.

    The vectors of old and new classes are two weights. By default, the old ones are not
    trainable, but gradients pass through them to the features. A learned scalar
    `scale`, started at 1, multiplies the similarities. The head always computes in
    float32.

    Args:
        num_old_classes, num_new_classes: numbers of rows of the two weights.
            `num_old_classes` is 0 at the base step.
        trains_old: the old vectors are trainable as well.
    """

    def __init__(
        self,
        num_old_classes,
        num_new_classes,
        trains_old=False,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.num_old_classes = num_old_classes
        self.num_new_classes = num_new_classes
        self.trains_old = trains_old

    # Shape of the vectors of one class, without the features' axis.
    vectors_shape = ()

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        self.new_vectors = self._class_vectors("new", self.num_new_classes, input_shape)
        self.old_vectors = None
        if self.num_old_classes:
            self.old_vectors = self._class_vectors(
                "old", self.num_old_classes, input_shape
            )
            self.old_vectors.trainable = self.trains_old

    def _class_vectors(self, name, num_classes, input_shape):
        return self.add_weight(
            name=f"{name}_vectors",
            shape=(num_classes, *self.vectors_shape, input_shape[-1]),
            initializer=self.initializer(input_shape[-1]),
        )

    def initializer(self, num_features):
        """Returns the initializer of class vectors: uniform in +-1/sqrt(d)."""
        return _uniform(num_features**-0.5)

    @property
    def class_weights(self):
        """Per-class weights; balanced fine-tuning trains only these."""
        return [w for w in (self.old_vectors, self.new_vectors) if w is not None]

    def cosines(self, features):
        """Returns cosines with class vectors, `(batch, classes, *vectors_shape)`."""
        vectors = ops.concatenate(
            [ops.convert_to_tensor(w) for w in self.class_weights]
        )
        rows = ops.reshape(vectors, (-1, vectors.shape[-1]))
        return ops.reshape(cosines(features, rows), (-1, *vectors.shape[:-1]))

    def grow_from(self, old):
        """Copies the scale, and every class vector of `old` as an old one."""
        self.scale.assign(old.scale)
        vectors = [weight.numpy() for weight in old.class_weights]
        self.old_vectors.assign(ops.concatenate(vectors))

    def imprint(self, directions):
        """Sets the new class vectors to `directions`, at the mean length of old ones.

        Source: LUCIR and PODNet as released, which multiply by the mean norm of the
        rows of old classes.

        Args:
            directions: float, shape of the new vectors, about unit length.
        """
        lengths = ops.norm(self.old_vectors, axis=-1)
        self.new_vectors.assign(directions * ops.mean(lengths))

    def get_config(self):
        return {
            **super().get_config(),
            "num_old_classes": self.num_old_classes,
            "num_new_classes": self.num_new_classes,
            "trains_old": self.trains_old,
        }


@keras.saving.register_keras_serializable(package="bsce_keras")
class CosineHead(VectorHead):
    """LUCIR's head: one vector per class, `logits = scale * cos(features, vector)`.

    It also returns `cosines`, which the margin ranking compares without scale.

    Source: LUCIR `modified_linear.py`, including the lower bound 1e-12 of norms.
    """

    def call(self, features):
        cosines = self.cosines(features)
        return {"logits": self.scale * cosines, "cosines": cosines}

    def plain(self, features):
        """Applies dense layers to features of length 1; see `plain`."""
        vectors = np.concatenate([weight.numpy() for weight in self.class_weights])
        columns = normalized(vectors).numpy().T
        cosines = dense(keras.layers.UnitNormalization()(features), columns)
        logits = keras.layers.Rescaling(float(self.scale))(cosines)
        return {"logits": logits, "cosines": cosines}


@keras.saving.register_keras_serializable(package="bsce_keras")
class LocalSimilarityHead(VectorHead):
    """PODNet's head: several proxies per class; the nearest ones have most weight.

        s_ck = -|| f/|f| - v_ck/|v_ck| ||^2 = 2 cos(f, v_ck) - 2
        y_c  = sum_k softmax_k(s_ck) s_ck,   logits = scale * y

    It also returns `similarities` y and `scale`, one column. PODNet's own loss has a
    margin on the similarities without scale. Proxies start normal with standard
    deviation 1/sqrt(d).

    Source: PODNet `classifiers.py`, `distance.py` as released. The paper reportedly
    takes the softmax of the cosines, which is half as sharp; we follow the code.
    """

    vectors_shape = (10,)

    def initializer(self, num_features):
        return keras.initializers.RandomNormal(stddev=num_features**-0.5)

    def call(self, features):
        nearness = 2.0 * self.cosines(features) - 2.0
        similarities = ops.sum(ops.softmax(nearness, axis=-1) * nearness, axis=-1)
        return {
            "logits": self.scale * similarities,
            "similarities": similarities,
            "scale": self.scale * ops.ones_like(similarities[:, :1]),
        }


def cosines(features, vectors):
    """Returns cosines of all rows of `(batch, d)` with all of `(num_vectors, d)`."""
    return ops.matmul(normalized(features), ops.transpose(normalized(vectors)))


def _uniform(bound):
    """Returns a new initializer; every weight needs a separate one.

    A Keras initializer repeats its numbers. A bias that shares it with the kernel would
    equal the kernel's first row.
    """
    return keras.initializers.RandomUniform(-bound, bound)


def normalized(vectors):
    """Returns rows scaled to length 1; a row of zeros stays zero."""
    # maximum() of the squared norm, because the norm is not differentiable at 0.
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, _NORM_FLOOR**2))

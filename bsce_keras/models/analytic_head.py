"""AnalyticHead: a random expansion of the features and a solved linear map."""

import keras
from keras import ops

from bsce_keras.models.plain import dense
from bsce_keras.runtime.errors import RequestError


@keras.saving.register_keras_serializable(package="bsce_keras")
class AnalyticHead(keras.layers.Layer):
    """Head of ACIL and DS-AL. Its weights are computed, not trained.

        logits = relu(f E) W  +  tanh(f E) V

    f are the features of the backbone. With `depths`, maps of its last stages join
    them, each after a ReLU and averaged over four quarters of the image. With
    `mirrored`, f is the mean over the image and its mirror image.

    The second term exists only with `compensates`. A ridge regression to one-hot
    labels has logits of about 0 and 1, and a plain softmax over 100 of them would
    give every class about 1 %. `calibrated_logits = logits / temperature` are those
    that exports turn into probabilities. `logits` stay as they are.

    Args:
        num_classes: number of columns of the logits.
        expansion_size: m, number of columns of E.
        compensates: the head has the stream V.
        depths: number of last stages whose maps join the features.
        mirrored: features are means over the image and its mirror image.

    Attributes:
        expansion: E, shape `(d, m)`.
        kernel, compensation: W and V, shape `(m, num_classes)`; V is None without
            `compensates`.
        temperature: scalar, 1 until it is assigned.
    """

    def __init__(
        self,
        num_classes,
        expansion_size,
        compensates=False,
        depths=0,
        mirrored=False,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **{"trainable": False, **kwargs})
        self.num_classes = num_classes
        self.expansion_size = expansion_size
        self.compensates = compensates
        self.depths = depths
        self.mirrored = mirrored

    def gather(self, backbone, images):
        """Returns the outputs of a backbone with the features that the head takes.

        Args:
            backbone: `keras.Model` from images to `features` and the maps `stage1`,
                `stage2`, ...
            images: symbolic preprocessed images.

        Raises:
            RequestError: the backbone has fewer stages than `depths`.
        """
        outputs = backbone(images)
        features = self._joined(outputs)
        if self.mirrored:
            mirrored = self._joined(backbone(ops.flip(images, axis=2)))
            average = keras.layers.Average(dtype="float32")
            features = average([features, mirrored])
        return {**outputs, "features": features}

    def _joined(self, outputs):
        if not self.depths:
            return outputs["features"]
        stages = [name for name in outputs if name.startswith("stage")]
        stages.sort(key=lambda name: (len(name), name))  # stage10 comes after stage9
        if self.depths > len(stages):
            raise RequestError(
                f"--method_parameters=depths must be at most {len(stages)}, the number "
                f"of stages of the backbone. Received: {self.depths}."
            )
        maps = [outputs[name] for name in stages[-self.depths :]]
        quarters = [_quarters(stage_map) for stage_map in maps]
        return keras.layers.Concatenate(dtype="float32")(
            [outputs["features"], *quarters]
        )

    def build(self, input_shape):
        shape = (self.expansion_size, self.num_classes)
        self.expansion = self._computed_weight("expansion", (input_shape[-1], shape[0]))
        self.kernel = self._computed_weight("kernel", shape)
        self.compensation = None
        if self.compensates:
            self.compensation = self._computed_weight("compensation", shape)
        self.temperature = self._computed_weight("temperature", (), "ones")

    def _computed_weight(self, name, shape, initializer="zeros"):
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, trainable=False
        )

    def call(self, features):
        expanded = ops.matmul(features, self.expansion)
        logits = ops.matmul(ops.relu(expanded), self.kernel)
        if self.compensates:
            logits += ops.matmul(ops.tanh(expanded), self.compensation)
        return {"logits": logits, "calibrated_logits": logits / self.temperature}

    def plain(self, features):
        """Applies dense layers with the same weights; see `plain`."""
        expanded = dense(features, self.expansion.numpy())
        relu = keras.layers.Activation("relu")(expanded)
        logits = dense(relu, self.kernel.numpy())
        if self.compensates:
            tanh = keras.layers.Activation("tanh")(expanded)
            streams = [logits, dense(tanh, self.compensation.numpy())]
            logits = keras.layers.Add()(streams)
        calibrated = keras.layers.Rescaling(1 / float(self.temperature))(logits)
        return {"logits": logits, "calibrated_logits": calibrated}

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "expansion_size": self.expansion_size,
            "compensates": self.compensates,
            "depths": self.depths,
            "mirrored": self.mirrored,
        }


def _quarters(stage_map):
    """Returns the means of the positive parts of a map over four quarters, flat."""
    positive = keras.layers.ReLU(dtype="float32")(stage_map)
    # Quarters of an odd side overlap by one row.
    sides = stage_map.shape[1:3]
    pool = keras.layers.AveragePooling2D(
        tuple(-(-side // 2) for side in sides),
        strides=tuple(max(side // 2, 1) for side in sides),
        dtype="float32",
    )
    return keras.layers.Flatten(dtype="float32")(pool(positive))

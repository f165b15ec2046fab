"""Mnemonics: LUCIR with exemplars whose pixels are optimised to train a head."""

import tensorflow as tf

from bsce_keras.meta import plain_crossentropy
from bsce_keras.methods.base import FINETUNING, MAIN, PIXELS, PixelObjective
from bsce_keras.methods.lucir import LUCIR
from bsce_keras.models.heads import cosines, normalized


class Mnemonics(LUCIR):
    """LUCIR that optimises the pixels of exemplars E after a step, then fine-tunes.

        min over E of  L_c(W'(E); queries),
        W'(E) = class vectors after some updates of descent on L_c(W; E)

    New exemplars start as selected by herding; their queries are the step's new images.
    Exemplars of an old class are split into two halves; each half has the other one as
    queries. L_c is always the plain softmax cross-entropy, because all classes have
    about the same number of exemplars. If the step trained with LUCIR's own loss, the
    plain softmax, balanced fine-tuning of the class vectors on all exemplars follows.

    Optimised exemplars do not look like their class. On digits, the trained network
    misclassifies most optimised exemplars of an increment. They change the class
    vectors more for this reason.

    Source: Liu et al., CVPR 2020. This is their bilevel program, not their code:

    - Pixels do not move noticeably in either release. The first takes the outer
      gradient through inner updates without a gradient, and starts all exemplars of a
      class from the same image. The second moves a pixel by far less than a grey level,
      and darkens images by truncation.
    - The paper's inner problem trains the whole network. Its first release and this
      class train only the class vectors.
    - Logits are `scale * cos` with LUCIR's learned scale. Both releases omit the scale,
      which makes inner gradients tiny.
    - The paper starts from random images and does not give numbers of updates and
      rates. Ours are in `parameters.MnemonicsParameters`.
    - The released code uses a network with weight transfer after the base step. We do
      not.
    """

    phases = (MAIN, PIXELS, FINETUNING)

    def pixel_objective(self, head):
        parameters = self.parameters
        vectors = tf.concat(
            [tf.convert_to_tensor(weight) for weight in head.class_weights], axis=0
        )
        scale = tf.convert_to_tensor(head.scale)

        def loss(features, labels, query_features, query_labels):
            trained = trained_vectors(
                *(vectors, scale, features, labels),
                *(parameters.inner_updates, parameters.inner_learning_rate),
            )
            logits = scale * cosines(query_features, trained)
            return tf.reduce_mean(plain_crossentropy(query_labels, logits))

        return PixelObjective(
            loss,
            parameters.pixel_learning_rate,
            parameters.pixel_passes,
            parameters.old_share,
            parameters.classes_at_once,
        )


def trained_vectors(vectors, scale, features, labels, num_updates, learning_rate):
    """Returns class vectors after updates of gradient descent on all features.

        W <- W - learning_rate * d/dW mean_i CE(scale * cos(features_i, W), labels_i)

    f' and w' are the rows f of F and w of W, scaled to length 1. Q is the softmax of
    the logits, Y the one-hot labels and n the number of images. The gradient is then

        G = scale / n (Q - Y)^T F',   d/dw = (g - <g, w'> w') / |w|

    where g is the row of G for w. Nested tapes give the same result and take three
    times as long to trace. Every update depends on the features, so a tape around the
    call differentiates through the descent.

    Args:
        vectors: float, shape `(num_classes, d)`, initial class vectors.
        scale: scalar factor of the cosines.
        features: float, shape `(num_images, d)`.
        labels: int, shape `(num_images,)`.
        num_updates: number of updates of the descent.
        learning_rate: rate of the descent.

    Returns:
        Float, shape `(num_classes, d)`.
    """
    rows = normalized(features)
    target = tf.one_hot(labels, tf.shape(vectors)[0], dtype=rows.dtype)
    factor = scale / tf.cast(tf.shape(rows)[0], rows.dtype)
    for _ in range(num_updates):
        directions = normalized(vectors)
        lengths = tf.reduce_sum(vectors * directions, axis=-1, keepdims=True)
        logits = scale * tf.matmul(rows, directions, transpose_b=True)
        excess = factor * (tf.nn.softmax(logits) - target)
        pull = tf.matmul(excess, rows, transpose_a=True)
        along = tf.reduce_sum(pull * directions, axis=-1, keepdims=True)
        slope = tf.math.divide_no_nan(pull - along * directions, lengths)
        vectors -= learning_rate * slope
    return vectors

"""LUCIR with Mnemonics: exemplars whose pixels are made for training a head on them."""

import tensorflow as tf

from bsce_keras.meta import plain_crossentropy
from bsce_keras.methods.base import FINETUNING, MAIN, PIXELS, PixelObjective
from bsce_keras.methods.lucir import LUCIR
from bsce_keras.models.heads import cosines, normalized


class Mnemonics(LUCIR):
    """LUCIR whose exemplars E are optimised after a step, as pixels; then fine-tuning.

        min over E of  L_c(W'(E); queries),
        W'(E) = class vectors after some steps of descent on L_c(W; E)

    New exemplars start as herding chose them, and the queries are the step's new
    images. Exemplars of an old class are cut in two halves, each the queries of the
    other. L_c is the plain softmax cross-entropy, whatever loss the step trained with,
    for exemplars are about equally many of every class. Where that was the plain one,
    LUCIR's own, balanced fine-tuning of the class vectors on all exemplars follows.

    What is found is not how a class looks: on digits the trained network errs on most
    of an increment's optimised exemplars, which pull the class vectors the more for it.

    Source: Liu et al., CVPR 2020, whose bilevel program this is, not their code. In
    neither of its releases does a pixel move: the first takes the outer gradient
    through inner updates that have none, and starts every exemplar of a class from the
    same image; the second moves a pixel by far less than a grey level, and darkens
    images by cutting decimals off. The paper's inner problem trains the whole network;
    its first release, like this, the class vectors alone. Logits are `scale * cos` with
    the scale that LUCIR learned, which both releases leave out, and inner gradients are
    tiny without. The paper starts from random images and leaves updates and rates open;
    ours are in `recipes.MnemonicsParameters`. Its released code goes over to a network
    with weight transfer after the base step, which is not here.
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
                *(parameters.inner_steps, parameters.inner_learning_rate),
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


def trained_vectors(vectors, scale, features, labels, num_steps, learning_rate):
    """Class vectors after steps of gradient descent on all features at once.

        W <- W - learning_rate * d/dW mean_i CE(scale * cos(features_i, W), labels_i)

    With rows f of F and w of W brought to length 1 as f' and w', Q the softmax of the
    logits, Y the labels as one-hot rows and n images, the gradient is written out:

        G = scale / n (Q - Y)^T F',   d/dw = (g - <g, w'> w') / |w|

    A tape within a tape gives the same and takes three times as long to trace. The
    result depends on the features by way of every step, so that a tape around the call
    differentiates through the descent.

    Args:
        vectors: float, shape `(num_classes, d)`, where it starts.
        scale: of the cosines, a scalar.
        features: float, shape `(num_images, d)`.
        labels: int, shape `(num_images,)`.
        num_steps, learning_rate: of the descent.

    Returns:
        Float, shape `(num_classes, d)`.
    """
    rows = normalized(features)
    target = tf.one_hot(labels, tf.shape(vectors)[0], dtype=rows.dtype)
    factor = scale / tf.cast(tf.shape(rows)[0], rows.dtype)
    for _ in range(num_steps):
        directions = normalized(vectors)
        lengths = tf.reduce_sum(vectors * directions, axis=-1, keepdims=True)
        logits = scale * tf.matmul(rows, directions, transpose_b=True)
        excess = factor * (tf.nn.softmax(logits) - target)
        pull = tf.matmul(excess, rows, transpose_a=True)
        along = tf.reduce_sum(pull * directions, axis=-1, keepdims=True)
        slope = tf.math.divide_no_nan(pull - along * directions, lengths)
        vectors -= learning_rate * slope
    return vectors

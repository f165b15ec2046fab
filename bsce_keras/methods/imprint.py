"""Imprint: new classes without old images, and without training."""

import numpy as np

from bsce_keras.methods.base import Method
from bsce_keras.models.imprinted_head import ImprintedHead

# Phases of a step, see `learner.step_phase.StepPhase`.
_FIRST = "bsce_keras.learner.first_phase:FirstPhase"
_IMPRINT = "bsce_keras.learner.imprint_phase:ImprintPhase"


class Imprint(Method):
    """Weight imprinting with a threshold; only images of new classes are needed.

    The base step trains a linear head, or adopts one. Then nothing is trained. A new
    class c gets the mean direction m_c of its features:

        z_c(f) = s_c cos(f, m_c) - t_c,   s_c = mean_base |w| mean |f|

    The scale s_c is that of a column as long as the base columns are on average. The
    threshold t_c is the largest one under which a share `recall` of the class's
    training images have z_c above all earlier logits. Each image is compared with the
    mean direction of the others.

    Earlier classes lose images only to a new class that is more similar than its own
    training images are at the threshold. Their logits never change.

    Source: Qi et al., Low-Shot Learning with Imprinted Weights, CVPR 2018,
    https://arxiv.org/abs/1712.07136. There, all columns are unit vectors that share a
    trained scale. Scale and threshold are ours, because the base head is kept as it is.
    """

    phases = (_FIRST, _IMPRINT)
    uses_teacher = False

    def make_head(self, num_old_classes, num_new_classes):
        if not num_old_classes:
            return super().make_head(num_old_classes, num_new_classes)
        return ImprintedHead(num_old_classes + num_new_classes)

    def imprint(self, head, features_of_classes, seed):
        features = [np.asarray(of_class) for of_class in features_of_classes]
        num_old = head.num_classes - len(features)
        kernel, bias = head.kernel.numpy(), head.bias.numpy()
        is_base = head.is_imprinted.numpy() == 0
        kernel[:, num_old:], bias[num_old:] = self.columns(
            features,
            [head(of_class)["logits"].numpy()[:, :num_old] for of_class in features],
            np.linalg.norm(kernel[:, is_base], axis=0).mean(),
        )
        head.kernel.assign(kernel)
        head.bias.assign(bias)

    def columns(self, features_of_classes, logits_of_classes, base_length):
        """Returns the columns of new classes, see `ImprintedHead`.

        Args:
            features_of_classes: features of each new class, shapes `(n, d)`.
            logits_of_classes: logits of the same images for earlier classes, shapes
                `(n, num_old_classes)`.
            base_length: mean length of the base columns.

        Returns:
            `(kernel, bias)` of these classes, shapes `(d, num_new_classes)` and
            `(num_new_classes,)`.
        """
        columns = [
            _column(
                np.asarray(features, np.float64),
                np.max(logits, axis=1),
                base_length,
                self.parameters.recall,
            )
            for features, logits in zip(
                features_of_classes, logits_of_classes, strict=True
            )
        ]
        kernels, biases = zip(*columns, strict=True)
        return np.stack(kernels, axis=1), np.array(biases)


def _column(features, highest_logits, base_length, recall):
    """Returns the scaled direction of one class, and its negative threshold."""
    lengths = np.linalg.norm(features, axis=1)
    unit = features / np.maximum(lengths, 1e-12)[:, None]
    scale = base_length * lengths.mean()
    total = unit.sum(axis=0)
    others = total - unit if len(unit) > 1 else unit
    cosines = np.sum(unit * others, axis=1)
    cosines /= np.maximum(np.linalg.norm(others, axis=1), 1e-12)
    threshold = np.quantile(scale * cosines - highest_logits, 1.0 - recall)
    return scale * total / max(np.linalg.norm(total), 1e-12), -threshold

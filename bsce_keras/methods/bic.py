"""BiC: IL-Baseline, then two numbers that correct the logits of the new classes."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from bsce_keras.methods.il_baseline import ILBaseline
from bsce_keras.models.heads import BiasCorrectedHead

_LARGEST_SCALE = 10.0


class BiC(ILBaseline):
    """IL-Baseline whose logits of new classes z become beta z + gamma after training.

        L = rho L_d / tau^2 + (1 - rho) L_c,   rho = N_{t-1} / N_t

    beta and gamma minimise the cross-entropy of images that no step trained on, the
    same number of every class, plus a penalty of gamma. The next step grows the head as
    it was before the correction, and distils from the corrected one.

    Source: Wu et al., CVPR 2019, as released: no factor tau^2, corrections are not
    stacked. There, beta and gamma take twice the updates of a step, with batch
    statistics in the network; here the minimum is found at once on logits in inference
    mode: the loss is convex in both. beta is held between -10 and 10, for a head that
    makes no mistake on these images has no minimum. A tenth of the exemplars is held
    out, where the released code shares a fixed number of images out in another way.
    """

    distillation_has_factor = False

    def make_head(self, num_old_classes, num_new_classes):
        return BiasCorrectedHead(num_old_classes, num_new_classes)

    def after_training(self, head, context, held_out):
        if not context.num_old_classes:
            return
        scale, offset = fit_bias_correction(
            *held_out, context.num_old_classes, self.parameters.offset_penalty
        )
        head.scale.assign(scale)
        head.offset.assign(offset)


def fit_bias_correction(logits, labels, num_old_classes, offset_penalty=0.05):
    """The scale and offset of new logits that fit the labels best.

        mean_i -log softmax([z_i,old, beta z_i,new + gamma])_{y_i} + penalty gamma^2

    It is convex, for the corrected logits are linear in both. Where old and new images
    are told apart without a mistake it falls for ever as beta grows: beta stays within
    [-10, 10].

    Args:
        logits: float, shape `(num_images, num_classes)`.
        labels: int, shape `(num_images,)`.
        num_old_classes: columns that stay as they are.
        offset_penalty: 0.05 is TensorFlow's `l2_loss` times the released code's 0.1.

    Returns:
        `(beta, gamma)`, two numbers.
    """
    logits = np.asarray(logits, np.float64)
    labels = np.asarray(labels)
    new = logits[:, num_old_classes:]
    is_new = labels >= num_old_classes
    rows = np.arange(len(labels))
    target_logits = np.where(is_new, logits[rows, labels], 0.0)

    def loss_and_gradient(correction):
        scale, offset = correction
        corrected = logits.copy()
        corrected[:, num_old_classes:] = scale * new + offset
        loss = -log_softmax(corrected, axis=1)[rows, labels].mean()
        pull = softmax(corrected, axis=1)[:, num_old_classes:]
        by_scale = ((pull * new).sum(axis=1) - target_logits).mean()
        by_offset = (pull.sum(axis=1) - is_new).mean() + 2 * offset_penalty * offset
        return loss + offset_penalty * offset**2, np.array([by_scale, by_offset])

    bounds = [(-_LARGEST_SCALE, _LARGEST_SCALE), (None, None)]
    found = minimize(
        loss_and_gradient,
        [1.0, 0.0],
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-8},
    )
    return tuple(found.x.tolist())

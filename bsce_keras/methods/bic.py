"""BiC: IL-Baseline, with two numbers that correct the logits of new classes."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from bsce_keras.methods.il_baseline import ILBaseline
from bsce_keras.models.heads import BiasCorrectedHead

_LARGEST_SCALE = 10.0


class BiC(ILBaseline):
    """IL-Baseline with a correction: logits z of new classes become beta z + gamma.

        L = rho L_d / tau^2 + (1 - rho) L_c,   rho = N_{t-1} / N_t

    After training, beta and gamma minimise the cross-entropy of the images set aside,
    plus a penalty of gamma. Training never used these images, and every class has the
    same number of them. The next step grows the uncorrected head and distils from the
    corrected one.

    Source: Wu et al., CVPR 2019, as released: without the factor tau^2, and corrections
    are not stacked. What differs here:

    - The released code trains beta and gamma for twice the updates of a step, with
      batch statistics in the network. Here, a solver finds the minimum on logits in
      inference mode, because the loss is convex in both.
    - beta stays between -10 and 10. A head without a mistake on these images has an
      unbounded beta otherwise.
    - A tenth of the exemplars is set aside. The released code distributes a fixed
      number of images in another way.
    """

    distillation_has_factor = False

    def make_head(self, num_old_classes, num_new_classes):
        return BiasCorrectedHead(num_old_classes, num_new_classes)

    def after_training(self, head, context, set_aside):
        if not context.num_old_classes:
            return
        scale, offset = fit_bias_correction(
            *set_aside, context.num_old_classes, self.parameters.offset_penalty
        )
        head.scale.assign(scale)
        head.offset.assign(offset)


def fit_bias_correction(logits, labels, num_old_classes, offset_penalty=0.05):
    """Returns the scale and offset of new logits that fit the labels best.

        mean_i -log softmax([z_i,old, beta z_i,new + gamma])_{y_i} + penalty gamma^2

    This loss is convex, because the corrected logits are linear in both. If old and new
    images are separated without a mistake, it decreases in beta without a minimum. beta
    is therefore bounded to [-10, 10].

    Args:
        logits: float, shape `(num_images, num_classes)`.
        labels: int, shape `(num_images,)`.
        num_old_classes: number of the first columns, which are not corrected.
        offset_penalty: factor of gamma^2. 0.05 is the released code's 0.1 times the 1/2
            of TensorFlow's `l2_loss`.

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

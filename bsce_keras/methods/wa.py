"""WA: IL-Baseline that scales new class weights to the length of the old ones."""

import logging

import numpy as np

from bsce_keras.methods.il_baseline import ILBaseline
from bsce_keras.models.heads import LinearHead

_log = logging.getLogger(__name__)


class WA(ILBaseline):
    """Weight aligning: a correction without images after every increment.

        L = rho L_d / tau^2 + (1 - rho) L_c,   rho = N_{t-1} / N_t
        w_c <- w_c mean_old |w| / mean_new |w|   for new classes c; biases stay

    Class weights below 0 become 0 after every update, from the base step on. Features
    are 0 or above, so the length of a vector then tells how large its logits are.
    Without this, vectors of one length differ in the mean of their weights, and new
    classes stay ahead.

    Source: Zhao et al., CVPR 2020, Eqs. 5 to 7. The distillation of the article and of
    PyCIL does not have the factor tau^2. PyCIL does not clip weights; `clips_weights`
    turns it off.
    """

    distillation_has_factor = False

    def make_head(self, num_old_classes, num_new_classes):
        constraint = "non_neg" if self.parameters.clips_weights else None
        return LinearHead(num_old_classes + num_new_classes, constraint)

    def after_training(self, head, context, set_aside):
        num_old = context.num_old_classes
        if not num_old:
            return
        kernel = head.kernel.numpy()
        lengths = np.linalg.norm(kernel, axis=0)
        old, new = lengths[:num_old].mean(), lengths[num_old:].mean()
        if not new:
            _log.warning(
                "All weights of new classes are 0, so WA cannot scale them. Lower "
                "--learning_rate, or use --method_parameters=clips_weights=false."
            )
            return
        kernel[:, num_old:] *= old / new
        head.kernel.assign(kernel)

"""WA: IL-Baseline that scales new class weights to the length of the old ones."""

import numpy as np

from bsce_keras.methods.il_baseline import ILBaseline


class WA(ILBaseline):
    """Weight aligning: a correction without images after every increment.

        L = rho L_d / tau^2 + (1 - rho) L_c,   rho = N_{t-1} / N_t
        w_c <- w_c mean_old |w| / mean_new |w|   for new classes c; biases stay

    Source: Zhao et al., CVPR 2020, Eqs. 5 to 7. The distillation of the article and of
    PyCIL does not have the factor tau^2. The authors also clip class weights to 0 or
    above during training; PyCIL and this class do not.
    """

    distillation_has_factor = False

    def after_training(self, head, context, set_aside):
        num_old = context.num_old_classes
        if not num_old:
            return
        kernel = head.kernel.numpy()
        lengths = np.linalg.norm(kernel, axis=0)
        kernel[:, num_old:] *= lengths[:num_old].mean() / lengths[num_old:].mean()
        head.kernel.assign(kernel)

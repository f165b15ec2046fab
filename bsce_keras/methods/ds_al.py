"""DS-AL: ACIL with a second stream for the residual of the first."""

import numpy as np

from bsce_keras.methods.acil import ACIL, AnalyticState, RidgeStream, relu, state_after
from bsce_keras.methods.ridge import RidgeSums


class DSAL(ACIL):
    """Dual-stream analytic learning.

        main:          W as in ACIL, with relu(f E)
        compensation:  V, a ridge regression from tanh(f E) to the residual of the step
        logits:        relu(f E) W + C tanh(f E) V

    The residual is `y - relu(f E) W` for the step's images and the W after the step.
    It is set to 0 for classes of earlier steps (previous label cleansing). It depends
    on the steps, and so do V and the logits, unlike those of ACIL.

    Weights of classes and temperature are as in ACIL. The temperature takes
    leave-one-out logits of each stream with the residual held.

    Source: Zhuang et al., AAAI 2024.
    """

    compensates = True

    def first_state(self, expansion_size):
        names = ("main", "compensation")
        streams = {name: RidgeSums.zeros(expansion_size) for name in names}
        return AnalyticState(streams, np.zeros(0, np.int64))

    def solve(self, state, step, tell=lambda what: None):
        parameters = self.parameters
        main = self.main_stream(state, step, tell)
        compensation = RidgeStream.fitted(
            state,
            "compensation",
            step,
            np.tanh,
            _residual(step, main),
            (parameters.compensation_ridge,),
            tell,
        )
        factor = parameters.compensation
        logits = main.left_out_logits(step)
        logits += factor * compensation.left_out_logits(step)
        return state_after(state, step, main, compensation), {
            "kernel": main.solution.kernel,
            "compensation": factor * compensation.solution.kernel,
            "temperature": step.temperature(logits),
        }


def _residual(step, main):
    """Returns the residual of the main stream, 0 for old classes."""
    residual = step.targets
    for rows, places in step.blocks(relu):
        residual[places] -= rows @ main.solution.kernel
    residual[:, : step.num_old_classes] = 0.0
    return residual

"""SS-IL: separated softmax, and one distillation per earlier step."""

import itertools

from bsce_keras.losses import logit_distillation
from bsce_keras.methods.base import LossTerm, Method


class SSIL(Method):
    """Separated softmax, and distillation within the classes of each earlier step.

        L = L_ss + sum_s L_d(z restricted to the classes of step s)

    A batch has 128 images at the base step. Later it has 128 new images and 32
    exemplars. The rate of step t is the rate of the base step divided by t + 1.

    Source: Ahn et al., ICCV 2021, and their `main.py` and `trainer/`: distillations are
    summed over steps at full weight. What differs here:

    - 160 images are drawn for a batch, four new ones for each exemplar on average.
    - An epoch draws as many images as the pool has. There, it ends with the new images.
    - Momentum restarts at every step. There, one optimizer serves all steps and carries
      its momentum over.
    - Exemplars are herded. There, they are the first images of a class.
    """

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        ends = list(itertools.accumulate(context.step_sizes[:-1], initial=0))
        blocks = [slice(*pair) for pair in itertools.pairwise(ends)]
        if not blocks:
            return terms

        def distillation(labels, student, teacher):
            return sum(
                logit_distillation(
                    teacher["logits"][:, block],
                    student["logits"][:, block],
                    self.parameters.temperature,
                )
                for block in blocks
            )

        return [*terms, LossTerm("distillation", 1.0, distillation)]

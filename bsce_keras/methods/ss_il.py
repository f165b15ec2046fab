"""SS-IL: separate softmaxes, and a distillation of its own for every earlier step."""

import itertools

from bsce_keras.losses import logit_distillation
from bsce_keras.methods.base import LossTerm, Method


class SSIL(Method):
    """Separated softmax, and distillation within the classes of each earlier step.

        L = L_ss + sum_s L_d(z restricted to the classes of step s)

    A batch has four new images for each exemplar, and the rate of step t is that of the
    base step divided by t + 1.

    Source: Ahn et al., ICCV 2021, and their `trainer/ssil.py`: distillations are summed
    over steps at full weight. There, every batch has exactly 128 new images and 32
    exemplars; here 160 images are drawn, on average in this proportion. There, the
    first images of a class are its exemplars; here they are herded.
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

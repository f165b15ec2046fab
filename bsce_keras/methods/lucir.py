"""LUCIR: cosine head, less-forget term on features, and margin ranking."""

import math

import numpy as np
from keras import ops

from bsce_keras.losses import less_forget, margin_ranking
from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.methods.base import LossTerm, Method
from bsce_keras.models.heads import CosineHead


class LUCIR(Method):
    """Classification, less-forget and margin ranking on a cosine head.

        L = L_c + lambda_t L_LF + w L_MR,   lambda_t = lambda sqrt(N_{t-1} / M_t)

    Old class vectors are frozen while a step trains. New ones start at the mean
    direction of their images' features. Balanced fine-tuning, if requested, trains only
    the class vectors, with batch normalisation in inference mode.

    Source: Hou et al., CVPR 2019, Eqs. 6 to 8; their
    `incremental_train_and_eval_MR_LF.py`. The margin ranking is a mean over the old
    images of a batch, as in the code.
    """

    variant = "lucir"

    def make_head(self, num_old_classes, num_new_classes):
        return CosineHead(num_old_classes, num_new_classes)

    def imprint(self, head, features_of_classes, seed):
        imprint_mean_directions(head, features_of_classes)

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        if not context.num_old_classes:
            return terms
        ratio = context.num_old_classes / context.num_new_classes
        weight = self.parameters.less_forget_weight * math.sqrt(ratio)

        def ranking(labels, student, teacher):
            values = margin_ranking(
                labels,
                student["cosines"],
                context.num_old_classes,
                self.parameters.margin,
                self.parameters.top_k,
            )
            is_old = ops.reshape(labels, (-1,)) < context.num_old_classes
            return values, is_old

        return [
            *terms,
            LossTerm("less_forget", weight, _less_forget),
            LossTerm("margin_ranking", self.parameters.margin_ranking_weight, ranking),
        ]


def imprint_mean_directions(head, features_of_classes):
    """Sets new class vectors to the mean direction of their images' features.

    Args:
        head, features_of_classes: arguments of `Method.imprint`.
    """
    means = [
        unit_rows(unit_rows(features).mean(axis=0)) for features in features_of_classes
    ]
    head.imprint(np.stack(means))


def _less_forget(labels, student, teacher):
    return less_forget(teacher["features"], student["features"])

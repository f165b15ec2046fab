"""TPCIL: a cosine head, and features that preserve their topology."""

import tensorflow as tf
from keras import ops

from bsce_keras.losses import topology_preserving
from bsce_keras.losses.dtypes import at_least_float32
from bsce_keras.methods.base import LossTerm, Method
from bsce_keras.methods.lucir import imprint_mean_directions
from bsce_keras.models.heads import CosineHead, cosines

_PAIRS = ("all_in_batch", "edges")
# A correlation of fewer pairs is mostly noise.
_FEWEST_PAIRS = 8


class TPCIL(Method):
    """Classification and topology preservation of exemplars, on a cosine head.

        L = L_c + lambda L_TP

    L_TP compares cosines of pairs of exemplars under the network in training with those
    under the network of the previous step. Every update sees anchors for this, which
    are uncropped exemplars in addition to its batch. Anchors are the ends of edges
    drawn from the memory's graph (`memory.graph`). Pairs are all pairs of anchors or,
    on request, only those that the graph joins. Fewer than 8 pairs leave the term out.
    All class vectors train, and new ones start as in LUCIR.

    The recalled formula has all pairs of vertices, so the default is all pairs. With
    `edges`, the term correlates only neighbours. Their cosines are almost equal, which
    magnifies small differences. At the default lambda, `edges` was far worse on a
    validation split, a fifth of the training images of digits.

    Source: reconstruction of Tao et al., "Topology-Preserving Class-Incremental
    Learning", ECCV 2020. The article announces code that was not released.

    - From its abstract: the graph, competitive Hebbian learning, and a term that
      penalises changes of neighbourhoods.
    - Recalled and not compared with the article: the correlation, an exemplar for every
      vertex, the absence of other terms, LUCIR's protocol, lambda of about 10 to 15.
    - Ours: the draws of exemplars and pairs, trained old class vectors, and all numbers
      of the graph that `memory.graph` does not call recalled.
    """

    variant = "lucir"
    uses_teacher = False

    def __init__(self, parameters):
        super().__init__(parameters)
        if parameters.pairs not in _PAIRS:
            raise ValueError(
                f"`pairs` must be one of {', '.join(_PAIRS)}. "
                f"Received: {parameters.pairs!r}"
            )

    @property
    def num_anchor_edges(self):
        return self.parameters.num_edges if self.parameters.topology_weight else 0

    def make_head(self, num_old_classes, num_new_classes):
        return CosineHead(num_old_classes, num_new_classes, trains_old=True)

    def imprint(self, head, features_of_classes, seed):
        imprint_mean_directions(head, features_of_classes)

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        if context.has_anchors:
            weight = self.parameters.topology_weight
            terms.append(LossTerm("topology", weight, self._topology))
        return terms

    def _topology(self, labels, student, teacher):
        reference = _cosines(teacher["anchor_features"])
        current = _cosines(student["anchor_features"])
        chosen = teacher["anchor_edges"]
        if self.parameters.pairs == "all_in_batch":
            chosen = ops.triu(ops.ones_like(chosen), k=1)
        loss = topology_preserving(
            tf.boolean_mask(reference, chosen), tf.boolean_mask(current, chosen)
        )
        is_enough = ops.count_nonzero(chosen) >= _FEWEST_PAIRS
        return loss[None], is_enough[None]


def _cosines(features):
    """Returns cosines of all pairs of rows, shape `(num_rows, num_rows)`."""
    rows = at_least_float32(features)
    return cosines(rows, rows)

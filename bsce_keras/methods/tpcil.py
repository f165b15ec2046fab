"""TPCIL: a cosine head, and features that keep the topology they had."""

import tensorflow as tf
from keras import ops

from bsce_keras.losses import topology_preserving
from bsce_keras.losses.dtypes import at_least_float32
from bsce_keras.methods.base import LossTerm, Method
from bsce_keras.methods.lucir import imprint_mean_directions
from bsce_keras.models.heads import CosineHead, cosines

_PAIRS = ("all_in_batch", "edges")
# A correlation of fewer says little.
_FEWEST_PAIRS = 8


class TPCIL(Method):
    """Classification, and topology preservation among exemplars, on a cosine head.

        L = L_c + lambda L_TP

    L_TP compares the cosines of pairs of exemplars, as they come out of the network in
    training, with those by the network of the step before. Every update sees some
    exemplars for that, uncropped, besides its batch: the ends of edges that are drawn
    out of the memory's graph (`memory.graph`). The pairs are all of them or, on
    request, those that the graph joins. Fewer than 8 leave the term out. All class
    vectors train, and new ones start as LUCIR's do.

    Of the two kinds of pairs the first is nearer to the recalled formula, which has all
    pairs of vertices. The second correlates neighbours alone, whose cosines are all
    much the same: it magnifies differences that mean little. On a fifth of digits'
    training images, held out, it was far the worse at the default lambda.

    Source: reconstruction of Tao et al., "Topology-Preserving Class-Incremental
    Learning", ECCV 2020, which promises code that was not released. From its abstract:
    the graph, competitive Hebbian learning, and a term that penalises changes of
    neighbourhoods. Recalled and not compared with the article: the correlation, an
    exemplar for every vertex, no other term, LUCIR's protocol, lambda of about 10 to
    15. Ours: how exemplars and pairs are drawn, that old class vectors train, and all
    figures of the graph that `memory.graph` does not say to be recalled.
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
    """Of all pairs of rows, shape `(num_rows, num_rows)`."""
    rows = at_least_float32(features)
    return cosines(rows, rows)

"""PODNet: several proxies per class, and distillation of pooled maps."""

import math

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from bsce_keras.losses import nca, pod_flat, pod_spatial
from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.methods.base import LossTerm, Method
from bsce_keras.models.heads import LocalSimilarityHead


class PODNet(Method):
    """Classification by local similarities, and POD terms on maps and features.

        L = L_c + a_s sqrt(N_t / M_t) L_spatial + a_f sqrt(N_t / M_t) L_flat

    Old proxies are frozen while a step trains. New ones start at the k-means centres of
    their images' features. PODNet's own classification loss is `nca`. With it, balanced
    fine-tuning of all proxies follows, with batch normalisation in training mode.
    Exemplars are selected again afterwards.

    Source: Douillard et al., ECCV 2020, and their released `podnet.py`. Where they
    differ, this follows the code (see `nca`, `pod_spatial`).
    """

    variant = "podnet"
    finetunes_with_batch_statistics = True
    selects_again_after_finetuning = True

    def make_head(self, num_old_classes, num_new_classes):
        return LocalSimilarityHead(num_old_classes, num_new_classes)

    def imprint(self, head, features_of_classes, seed):
        (num_proxies,) = head.vectors_shape
        centres = [
            _centres(features, num_proxies, seed) for features in features_of_classes
        ]
        head.imprint(np.stack(centres))

    def classification_values(self, context):
        if context.classification_loss != "nca":
            return super().classification_values(context)

        def values(labels, student, teacher):
            return nca(
                labels,
                student["similarities"],
                student["scale"][0, 0],
                self.parameters.margin,
                self.parameters.nca,
            )

        return values

    def loss_terms(self, context):
        terms = super().loss_terms(context)
        if not context.num_old_classes:
            return terms
        factor = math.sqrt(context.num_classes / context.num_new_classes)
        return [
            *terms,
            LossTerm(
                "pod_spatial", self.parameters.spatial_weight * factor, _pod_spatial
            ),
            LossTerm("pod_flat", self.parameters.flat_weight * factor, _pod_flat),
        ]


def _pod_spatial(labels, student, teacher):
    names = sorted(name for name in student if name.startswith("stage"))
    return pod_spatial(
        [teacher[name] for name in names], [student[name] for name in names]
    )


def _pod_flat(labels, student, teacher):
    return pod_flat(teacher["features"], student["features"])


def _centres(features, num_proxies, seed):
    """Returns cluster centres of unit features, repeated if images are too few.

    The settings are PODNet's defaults of 2020: k-means++ with 10 restarts.
    """
    rows = unit_rows(features)
    num_clusters = min(num_proxies, len(np.unique(rows, axis=0)))
    clustering = KMeans(num_clusters, init="k-means++", n_init=10, random_state=seed)
    # Threads add their sums in the order in which they end. With three or more threads,
    # results would differ from run to run. One thread is as fast.
    with threadpool_limits(1, user_api="openmp"):
        centres = clustering.fit(rows).cluster_centers_
    return centres[np.arange(num_proxies) % num_clusters]

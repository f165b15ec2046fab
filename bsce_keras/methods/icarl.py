"""iCaRL: replay, distillation and a nearest-mean classifier."""

import numpy as np

from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.methods.lwf import LwF
from bsce_keras.models.heads import NearestMeanHead


class ICaRL(LwF):
    """LwF's terms on new images and exemplars; predicts the class of the nearest mean.

    The mean of a class is the mean of its exemplars' unit features by the current
    network, scaled to unit length. On CIFAR, it includes the mirrored exemplars.

    Source: Rebuffi et al., CVPR 2017. Two algorithms have this name. The original has
    sigmoid outputs. LUCIR's code trains softmax cross-entropy plus distillation and
    calls its nearest-mean accuracy iCaRL. This class is the second one, which the
    paper's Table 1 quotes. Where LUCIR's code intends to mirror CIFAR images, it
    reverses their colours; we mirror. Its scripts for ImageNet do not mirror images.
    """

    @property
    def mirrors_exemplars(self):
        return self.parameters.mirrors_exemplars

    def predictor_head(self, features_of_classes):
        means = [unit_rows(features).mean(axis=0) for features in features_of_classes]
        head = NearestMeanHead(len(means))
        head.build((None, len(means[0])))
        head.means.assign(unit_rows(np.stack(means)))
        return head

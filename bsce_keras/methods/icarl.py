"""iCaRL: replay and distillation, classified by the nearest mean of exemplars."""

import numpy as np

from bsce_keras.memory.unit_rows import unit_rows
from bsce_keras.methods.lwf import LwF
from bsce_keras.models.heads import NearestMeanHead


class ICaRL(LwF):
    """The terms of LwF on new images and exemplars; predicts by class means.

    The mean of a class is that of its exemplars' unit features, by the network as it is
    now, brought to unit length. On CIFAR, mirror images of the exemplars count as well.

    Source: Rebuffi et al., CVPR 2017. Two algorithms carry the name: the original has
    sigmoid outputs; LUCIR's code trains softmax cross-entropy plus distillation and
    calls its nearest-mean accuracy iCaRL. The paper's Table 1 quotes the latter, which
    is what this is. LUCIR's code reverses the colours of CIFAR images where it means to
    mirror them; we mirror. Its scripts for ImageNet have no mirror images.
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

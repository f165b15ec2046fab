"""Part of a classifier that updates train, and the images or features that it sees."""

import dataclasses
import functools

import numpy as np

from bsce_keras.learner.feature_pass import FeaturePass
from bsce_keras.learner.inference import Inference
from bsce_keras.models.classifier import head_network
from bsce_keras.models.folding import folded


class WholeNetwork:
    """Updates train backbone and head on crops of images."""

    def network(self, classifier):
        """Returns the network that updates train; it shares the weights."""
        return classifier

    def teacher(self, classifier):
        """Returns a copy of a classifier with the inputs of `network`."""
        return folded(classifier)

    def inputs(self, classifier, examples, title):
        """Returns `Examples` with the inputs of `network`; None if given None.

        Args:
            classifier: the trained classifier.
            examples: `Examples` of images, or None.
            title: start of lines about the work, such as `step 1/5`.

        Raises:
            Stopped: on request.
        """
        return examples


class HeadOnly(WholeNetwork):
    """Updates train the head on features of a frozen backbone.

    The backbone runs in inference mode. Features of every image and of its mirror image
    are computed once a step; updates draw one of both.

    Args:
        runtime: `Runtime`.
        image: `ImageSpec` with the training crop `centre`.
    """

    def __init__(self, runtime, image):
        self._runtime = runtime
        self._image = image
        self._inference = None

    def network(self, classifier):
        return head_network(classifier)

    def teacher(self, classifier):
        return folded(head_network(classifier))

    def inputs(self, classifier, examples, title):
        if examples is None:
            return None
        told = FeaturePass(
            self._runtime.stop_requests, title, "while its features were computed"
        )
        # The chief computes them for all workers: features must not differ by rounding.
        views = self._runtime.workers.array_from_chief(
            lambda: self._views(classifier, examples.images, told)
        )
        return dataclasses.replace(examples, images=views)

    def _views(self, classifier, images, told):
        """Returns features `(n, views, d)`: of the images, and of the mirrored ones."""
        if self._inference is None:
            # The backbone of all steps is the same, so it is traced once.
            self._inference = Inference(classifier, self._image)
        views = [told.features(images, self._inference.features)]
        if self._image.flip:
            mirrored = functools.partial(self._inference.features, mirrored=True)
            views.append(told.features(images, mirrored))
        return np.stack(views, axis=1)


def trained_part(config, runtime):
    """Returns the part of the network that an `ExperimentConfig` trains."""
    if config.model.freeze_backbone:
        return HeadOnly(runtime, config.stream.image)
    return WholeNetwork()

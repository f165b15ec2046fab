"""FeaturePass: features of all images of a step, with lines and stop requests."""

import time

import numpy as np

from bsce_keras.runtime.signals import Stopped
from bsce_keras.runtime.text import duration

# Images between two looks for a stop request; two batches of 32x32 images.
_IMAGES_AT_ONCE = 1000
# Seconds between two lines about the share of the features.
_PRINT_SECONDS = 60


class FeaturePass:
    """Computes features in blocks; prints a line each minute and answers stops.

    Args:
        stop_requests: `StopRequests` of the run.
        title: start of its lines, such as `step 1/5`.
        doing: clause for the message of a stop, such as `while its head was solved`.
    """

    def __init__(self, stop_requests, title, doing):
        self._stop_requests = stop_requests
        self._title = title
        self._doing = doing
        self._begin = time.perf_counter()

    def features(self, images, features_of):
        """Returns features of all images, one row an image.

        Args:
            images: array of images.
            features_of: `images -> features`, one row an image.

        Raises:
            Stopped: on request, between two blocks.
        """
        blocks, shown = [], time.perf_counter()
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            self.refuse_stop(self._stop_requests.signum)
            block = images[start : start + _IMAGES_AT_ONCE]
            blocks.append(features_of(block))
            if time.perf_counter() - shown > _PRINT_SECONDS:
                shown = time.perf_counter()
                done = start + len(block)
                self._print(f"features, {done} of {len(images)} images")
        return np.concatenate(blocks)

    def finished(self, what):
        """Prints a line about a finished part with its time; the next one begins."""
        self._print(what)
        self._begin = time.perf_counter()

    def refuse_stop(self, signum):
        """Raises `Stopped` if a signal arrived, that is if its number is not 0."""
        if signum:
            raise Stopped(
                f"stopped in {self._title}, {self._doing}. Everything saved before "
                "stays: give the same command to go on.",
                signum,
            )

    def _print(self, what):
        seconds = time.perf_counter() - self._begin
        print(f"{self._title}  {what}  {duration(seconds)}", flush=True)

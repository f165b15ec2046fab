"""Memory of a process, in the units that are promised."""

import numpy as np

from bsce_keras.runtime.machine import peak_memory_mb


def test_peak_memory_is_that_of_this_process_in_megabytes():
    before = peak_memory_mb()
    # Far more than whatever the peak so far exceeds the present use by.
    size = int(before * 2**20) + 2**26
    assert np.ones(size, np.uint8).sum() == size
    assert peak_memory_mb() >= before + 64

"""Test images of a data set for models that know some of its classes by name."""

import dataclasses

import numpy as np

from bsce_keras.runtime.tensorflow_import import import_tensorflow


def unknown_classes(stream_config, names):
    """Returns the class names of a data set that are not among `names`."""
    return [name for name in stream_config.arriving_class_names if name not in names]


def named_test_images(stream_config, names, stored_size, check=None):
    """Loads the test images of named classes.

    Args:
        stream_config: `StreamConfig` of the data set.
        names: class names. Images of other classes are left out.
        stored_size: side of the squares that a model makes of every image; None keeps
            that of the data set.
        check: function that is given the stream, if it keeps the size of its images.

    Returns:
        `Examples`, whose labels are positions in `names`.
    """
    # Imported here, so that a wrong request is refused before TensorFlow loads.
    import_tensorflow()
    from bsce_keras.data.stream import ClassIncrementalStream

    keeps_size = stored_size in (None, stream_config.image.stored_size)
    if stored_size:
        # Store images in the model's size, because resizing twice changes predictions.
        image = dataclasses.replace(stream_config.image, stored_size=stored_size)
        stream_config = dataclasses.replace(stream_config, image=image)
    stream = ClassIncrementalStream(stream_config, training_images=False)
    if check and keeps_size:
        check(stream)
    test = stream.seen_test(stream.steps[-1])
    position = {name: index for index, name in enumerate(names)}
    arriving = stream_config.arriving_class_names
    labels = np.array([position.get(name, -1) for name in arriving])[test.labels]
    return dataclasses.replace(test, labels=labels).select(labels >= 0)

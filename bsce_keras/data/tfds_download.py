"""Downloads of TFDS data sets; the only code that uses the network."""

from bsce_keras.data.tfds_copy import tfds_dir, tfds_name
from bsce_keras.runtime.errors import RequestError, RunError


def prepare_dataset(dataset, data_dir=None):
    """Downloads a TFDS data set and writes its prepared copy into `data_dir`.

    Args:
        dataset: `cifar10`, `cifar100`, `imagenet2012`, `subimagenet` or
            `tfds:NAME[/CONFIG]`, with or without the prefix.
        data_dir: TFDS directory, or None for the default one.

    Raises:
        RequestError: TFDS does not know the data set.
        RunError: the download failed.
    """
    import tensorflow_datasets as tfds

    name = tfds_name(dataset)
    try:
        directory = tfds_dir(data_dir)
        builder = tfds.builder(name, data_dir=directory, try_gcs=False)
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            print(f"Preparing {name} in {directory} from the archives in its folder.")
        else:
            print(
                f"Fetching {name} into {directory}. If the network fails, TFDS tries "
                "again for some minutes."
            )
        builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError as error:
        raise RequestError(
            f"--dataset=tfds:NAME needs a data set that TFDS knows. Received: {name}. "
            "See https://www.tensorflow.org/datasets/catalog for the names."
        ) from error
    except Exception as error:  # TFDS does not document its exceptions.
        raise RunError(
            f"Could not download and prepare {name}: {error}. Try again with network "
            "access, or pass --data_dir=DIR, a TFDS directory that holds a prepared "
            "copy."
        ) from error

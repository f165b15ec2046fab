"""`--download` prepares copies by TFDS, from a server or from archives of the user."""

import functools
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.datasets.imagenet2012 import imagenet_common
from tensorflow_datasets.image_classification import cifar

from bsce_keras.data.datasets import load_dataset
from bsce_keras.options.make_config import make_config
from bsce_keras.runtime.errors import RequestError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 2, 32, 32, 3), np.uint8)


def archive(files, mode="w"):
    """Returns the bytes of a tar file of `files`, a dictionary from names to bytes."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return written.getvalue()


def jpeg(level):
    data = io.BytesIO()
    Image.new("RGB", (300, 260), (level, level, level)).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def served(tmp_path):
    """Folder that a server on this machine serves, its address and its requests."""
    folder, requests = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


def test_cifar_is_fetched_once_and_has_the_pixels_of_its_archive(
    served, tmp_path, monkeypatch
):
    folder, address, requests = served
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    records = {
        f"cifar-10-batches-bin/{name}.bin": b"".join(
            bytes([label]) + image.transpose(2, 0, 1).tobytes()
            for label, image in enumerate(images)
        )
        for name, images in zip(names, PIXELS, strict=True)
    }
    classes = "\n".join(f"class{n}" for n in range(10)).encode()
    records["cifar-10-batches-bin/batches.meta.txt"] = classes
    (folder / "cifar.tar.gz").write_bytes(archive(records, "w:gz"))
    info = cifar.Cifar10._cifar_info.fget
    moved = property(lambda self: info(self)._replace(url=f"{address}/cifar.tar.gz"))
    monkeypatch.setattr(cifar.Cifar10, "_cifar_info", moved)

    for _ in range(2):
        config = make_config("cifar10", data_dir=str(tmp_path / "tfds"), download=True)
        images = load_dataset(config.stream)
    assert requests == ["/cifar.tar.gz"]
    for label in (0, 1):
        found = images.train.images[images.train.labels == label]
        assert sorted(map(bytes, found)) == sorted(map(bytes, PIXELS[:5, label]))
        assert bytes(images.test.images[images.test.labels == label]) == bytes(
            PIXELS[5, label]
        )


def test_imagenet_is_prepared_from_the_archives_of_the_user(tmp_path):
    request = {"data_dir": str(tmp_path), "download": True}
    with pytest.raises(RequestError, match=r"ILSVRC2012_img_train\.tar"):
        make_config("subimagenet", **request)

    folder = tmp_path / "downloads" / "manual"
    folder.mkdir(parents=True)
    ids = imagenet_common.label_names_file().read_text().split()
    classes = {
        f"{ids[n]}.tar": archive({f"{ids[n]}_1.JPEG": jpeg(100 * n)}) for n in (0, 1)
    }
    (folder / "ILSVRC2012_img_train.tar").write_bytes(archive(classes))
    scored = {f"ILSVRC2012_val_{n:08d}.JPEG": jpeg(50) for n in range(1, 300)}
    (folder / "ILSVRC2012_img_val.tar").write_bytes(archive(scored))
    images = load_dataset(make_config("subimagenet", **request).stream)
    assert images.train.images.shape == (2, 256, 256, 3)
    for label in (0, 1):
        (image,) = images.train.images[images.train.labels == label]
        assert abs(int(image.mean()) - 100 * label) <= 1

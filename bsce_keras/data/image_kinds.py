"""Kinds of image files by their first bytes. Does not import TensorFlow."""

import errno
import os
import stat

# Kinds that `decode` reads.
DECODABLE = ("JPEG", "PNG", "GIF", "BMP", "WebP")
# Endings of names that are taken for images without reading their bytes.
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".ico"),
)
# Kind, position in the file, bytes.
_SIGNATURES = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG"),
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("WebP", 8, b"WEBP"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("AVIF", 4, b"ftypavif"),
    *(("HEIC", 4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"mif1", b"msf1")),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 4, b"JXL "),
    ("JPEG 2000", 4, b"jP  "),
    ("Photoshop document", 0, b"8BPS"),
    ("icon", 0, b"\0\0\1\0"),
)
_HEAD_BYTES = 16

# Errors of the file system that are faults of the file: they last until it changes.
FAULTS_OF_A_FILE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
)


def image_kind(head):
    """Returns the kind of an image file by its first 16 bytes, or None."""
    for kind, start, signature in _SIGNATURES:
        if head.startswith(signature, start):
            return kind
    return None


def file_kind(path):
    """Reads the kind of an image file from the disk.

    Args:
        path: any path. Only a regular file is opened, because a pipe would block.

    Returns:
        `(kind, reason)`: the kind of image, and the reason that the path cannot be
        decoded. One of them is None, except for images that TensorFlow cannot decode.

    Raises:
        OSError: the file system fails, and the fault is not in the file.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            is_folder = stat.S_ISDIR(status.st_mode)
            return None, "a folder" if is_folder else "not a regular file"
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        if error.errno not in FAULTS_OF_A_FILE:
            raise
        return None, error.strerror
    kind = image_kind(head)
    if kind in DECODABLE:
        return kind, None
    if kind:
        return kind, f"{kind} is not supported; convert it to PNG or JPEG"
    return None, "not an image" if status.st_size else "empty"


def gif_pixels(data):
    """Number of pixels of all frames of a GIF, which TensorFlow decodes together.

    Args:
        data: bytes of the file. If it is cut off, only the frames before are counted.
    """
    pixels, at = 0, 13 + _palette_bytes(data[10:11])
    while data[at : at + 1] in (b"!", b","):
        if data[at : at + 1] == b"!":
            at += 2
        else:
            width, height = data[at + 5 : at + 7], data[at + 7 : at + 9]
            pixels += int.from_bytes(width, "little") * int.from_bytes(height, "little")
            at += 11 + _palette_bytes(data[at + 9 : at + 10])
        # Skip blocks of up to 255 bytes, each after its length, up to an empty one.
        while data[at : at + 1] not in (b"", b"\0"):
            at += data[at] + 1
        at += 1
    return pixels


def too_many_pixels(max_pixels):
    """Returns the message about an image with more than `max_pixels` pixels."""
    return f"more than {max_pixels:,} pixels"


def _palette_bytes(flags):
    """Size of a colour table in bytes, by the flags before it."""
    bits = int.from_bytes(flags)
    return 3 * 2 ** ((bits & 7) + 1) if bits & 0x80 else 0

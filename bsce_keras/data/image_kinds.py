"""Kinds of image files by their first bytes. Does not import TensorFlow."""

import contextlib
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
# First bytes of a JPEG; the marker after which no EXIF data follow; bytes to search.
_JPEG, _START_OF_SCAN, _EXIF_BYTES = b"\xff\xd8\xff", b"\xda", 2**12
# Tag of TIFF 6.0 and EXIF.
_ORIENTATION = 0x0112

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


def turned_files(paths):
    """Returns the JPEG files whose EXIF data ask viewers to turn or mirror them.

    Files that cannot be read are left out.
    """
    return [path for path in paths if exif_orientation(_start_of_jpeg(path)) > 1]


def exif_orientation(data):
    """Returns the EXIF orientation of a JPEG, 1 to 8; 1 means as stored.

    Args:
        data: bytes of the file, or of its start. Other files give 1.
    """
    at = 2 if data.startswith(_JPEG) else len(data)
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != _START_OF_SCAN:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        is_exif = data[at + 4 : at + 10] == b"Exif\0\0"
        if data[at + 1 : at + 2] == b"\xe1" and is_exif:
            return _orientation_tag(data[at + 10 : end])
        at = end
    return 1


def _orientation_tag(tiff):
    order = "little" if tiff.startswith(b"II") else "big"

    def number(start, length):
        return int.from_bytes(tiff[start : start + length], order)

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def _start_of_jpeg(path):
    with contextlib.suppress(OSError):
        if file_kind(path)[0] == "JPEG":
            with open(path, "rb") as file:
                return file.read(_EXIF_BYTES)
    return b""


def too_many_pixels(max_pixels):
    """Returns the message about an image with more than `max_pixels` pixels."""
    return f"more than {max_pixels:,} pixels"


def _palette_bytes(flags):
    """Size of a colour table in bytes, by the flags before it."""
    bits = int.from_bytes(flags)
    return 3 * 2 ** ((bits & 7) + 1) if bits & 0x80 else 0

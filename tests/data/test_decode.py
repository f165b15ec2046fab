"""Image files of every kind become the same uint8 squares in training and export."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bsce_keras.data.decode import decode_image, fit_to_square
from bsce_keras.data.image_headers import num_pixels

rows, columns = np.mgrid[0:24, 0:36]
RGB = np.stack([columns * 7, rows * 10, (rows + columns) * 4], -1).astype(np.uint8)


def encode(image, kind, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(encoded, channels=3):
    return decode_image(tf.constant(encoded), channels).numpy().astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_are_exact(kind):
    np.testing.assert_array_equal(decode(encode(RGB, kind)), RGB)


def test_all_grey_levels_survive_png():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    encoded = encode(levels, "PNG")
    np.testing.assert_array_equal(decode(encoded, 1)[..., 0], levels)
    np.testing.assert_array_equal(decode(encoded)[..., 2], levels)


def test_16_bit_png_is_scaled_to_8_bits():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(values / 257)
    np.testing.assert_array_equal(decode(encode(values, "PNG"), 1)[..., 0], expected)


def test_alpha_is_dropped():
    alpha = np.full((24, 36, 1), 9, np.uint8)
    rgba = np.concatenate([RGB, alpha], -1)
    np.testing.assert_array_equal(decode(encode(rgba, "PNG")), RGB)


def test_cmyk_jpeg_has_the_colours_of_the_rgb_image():
    cmyk = encode(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(cmyk) - RGB).mean() < 5
    assert np.abs(decode(cmyk, 1)[..., 0] - RGB @ [0.299, 0.587, 0.114]).mean() < 5


def test_first_frame_of_a_gif():
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(gif), np.full((4, 6, 3), (255, 0, 0)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_is_exact_and_its_alpha_is_dropped(mode):
    image = Image.fromarray(RGB).convert(mode)
    encoded = encode(image, "WEBP", lossless=True)
    np.testing.assert_array_equal(decode(encoded), RGB)


def test_animated_webp_is_refused_before_it_is_decoded():
    """TensorFlow 2.21 writes beyond its memory, which kills the process."""
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    encoded = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="an animated WebP"):
        decode(encoded)


def pixel_limit_kinds():
    """Files of 24 x 36 pixels, one per form of header."""
    image = Image.fromarray(RGB)
    top_down = bytearray(encode(RGB, "BMP"))
    top_down[22:26] = (-24).to_bytes(4, "little", signed=True)
    return {
        "jpeg": encode(RGB, "JPEG"),
        "grey jpeg": encode(image.convert("L"), "JPEG", progressive=True),
        "png": encode(RGB, "PNG"),
        "16-bit png": encode(np.zeros((24, 36), np.uint16), "PNG"),
        "gif": encode(RGB, "GIF"),
        "bmp": encode(RGB, "BMP"),
        "bmp from its top": bytes(top_down),
        "lossy webp": encode(RGB, "WEBP"),
        "lossless webp": encode(RGB, "WEBP", lossless=True),
        "extended webp": encode(image.convert("RGBA"), "WEBP", exif=b"Exif\0\0II*\0"),
    }


@pytest.mark.parametrize(("kind", "encoded"), pixel_limit_kinds().items())
def test_images_of_more_pixels_than_the_limit_are_refused(kind, encoded):
    assert int(num_pixels(tf.constant(encoded))) == 24 * 36
    assert decode_image(tf.constant(encoded), 3, 24 * 36).shape == (24, 36, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 863 pixels"):
        decode_image(tf.constant(encoded), 3, 24 * 36 - 1)


def test_a_small_file_of_many_pixels_is_refused_by_default():
    """The header of a PNG of 13300 x 13300 pixels."""
    header = encode(RGB, "PNG")[:16] + 2 * (13300).to_bytes(4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 89,478,485"):
        decode(header + bytes(100))


@pytest.mark.parametrize("start", [b"\x89PNG", b"BM", b"GIF89a", b"RIFF1234WEBP"])
@pytest.mark.parametrize("form", [b"", b"VP8X", b"VP8L", b"VP8 "])
@pytest.mark.parametrize("length", [0, 5, 17])
def test_truncated_header_is_refused(start, form, length):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(start + form + b"\1" * length)


def test_grey_bmp_is_read_and_colour_palette_is_refused():
    grey = RGB[..., 1]
    np.testing.assert_array_equal(decode(encode(grey, "BMP"))[..., 0], grey)
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(encode(palette, "BMP"))


def test_compressed_bmp_is_refused():
    encoded = bytearray(encode(RGB[..., 1], "BMP"))
    encoded[30] = 1  # compression by run lengths
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(bytes(encoded))


def test_bmp_of_32_bits_is_read_if_its_bytes_are_in_the_usual_order():
    opaque = np.full((24, 36, 1), 255, np.uint8)
    encoded = encode(np.concatenate([RGB, opaque], -1), "BMP")
    np.testing.assert_array_equal(decode(encoded), RGB)
    # Masks lie between header and pixels: first B, G, R, then R, G, B.
    header = encoded[:10] + bytes([66]) + encoded[11:30] + bytes([3]) + encoded[31:54]
    masks = [bytes([0, 0, 255, 0]), bytes([0, 255, 0, 0]), bytes([255, 0, 0, 0])]
    usual = header + b"".join(masks) + encoded[54:]
    np.testing.assert_array_equal(decode(usual), RGB)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(header + b"".join(reversed(masks)) + encoded[54:])


@pytest.mark.parametrize(
    "encoded",
    [b"", b"no image", b"BM", encode(RGB, "JPEG")[:-9], encode(RGB, "PNG")[:-40]],
)
def test_incomplete_image_is_refused(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(encoded)


def test_fitting_image_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(fit_to_square(tf.constant(image), 32), image)


@pytest.mark.parametrize("size", [(24, 36), (36, 24), (7, 50), (12, 12), (12, 13)])
def test_short_side_is_resized_and_the_centre_is_kept(size):
    image = tf.image.resize(RGB, size, antialias=True).numpy().astype(np.uint8)
    square = fit_to_square(tf.constant(image), 12).numpy().astype(int)
    scale = 12 / min(size)
    height, width = round(size[0] * scale), round(size[1] * scale)
    whole = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    top, left = (height - 12) // 2, (width - 12) // 2
    expected = np.asarray(whole, int)[top : top + 12, left : left + 12]
    assert square.shape == (12, 12, 3)
    assert np.abs(square - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 1001), (1001, 1), (2, 5000)])
def test_long_strip_is_cut_to_its_middle_before_resizing(size, monkeypatch):
    image = np.zeros((*size, 3), np.uint8)
    middle = tuple(slice(side // 2 - 4, side // 2 + 5) for side in size)
    image[middle] = 200
    sizes = []
    resize = tf.image.resize

    def record(image, size, **options):
        sizes.append(tuple(size.numpy()))
        return resize(image, size, **options)

    monkeypatch.setattr(tf.image, "resize", record)
    square = fit_to_square(tf.constant(image), 16).numpy()
    assert max(sizes[0]) <= 8 * 16
    assert (square == 200).all()


def test_batches_of_any_size_are_resized_inside_a_graph():
    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    resize = tf.function(
        lambda images: fit_to_square(images, 8), input_signature=[spec]
    )
    assert resize.get_concrete_function().output_shapes.as_list() == [None, 8, 8, 3]
    assert resize(np.stack([RGB, RGB])).shape == (2, 8, 8, 3)
    fitting = RGB[np.newaxis, :8, :8]
    np.testing.assert_array_equal(resize(fitting), fitting)


def test_encoded_batch_inside_a_saved_model(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def squares(encoded):
        return tf.map_fn(
            lambda one: fit_to_square(decode_image(one, 3), 8),
            encoded,
            fn_output_signature=tf.TensorSpec((8, 8, 3), tf.uint8),
        )

    module = tf.Module()
    module.squares = squares
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    files = [encode(RGB, "PNG"), encode(RGB, "JPEG", quality=95), encode(RGB, "BMP")]
    png, jpeg, bmp = loaded.squares(tf.constant(files)).numpy().astype(int)
    np.testing.assert_array_equal(png, fit_to_square(tf.constant(RGB), 8))
    np.testing.assert_array_equal(png, bmp)
    assert np.abs(png - jpeg).mean() < 5

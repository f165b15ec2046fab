"""Feature distillation: worked numbers, formulas in NumPy, and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import less_forget, pod_flat, pod_spatial

MAP_SHAPES = [(5, 4, 3), (2, 2, 7)]  # height, width, channels

both_cosines = pytest.mark.parametrize("cosine_loss", [less_forget, pod_flat])


def random_features(seed, num_images=6):
    return np.random.default_rng(seed).normal(size=(num_images, 8))


def random_maps(seed, num_images=6):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(num_images, *shape)) for shape in MAP_SHAPES]


def gradients(loss, teacher, student):
    """Gradients of the summed loss to the teacher's and to the student's tensors."""
    teacher = tf.nest.map_structure(tf.constant, teacher)
    student = tf.nest.map_structure(tf.constant, student)
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        value = tf.reduce_sum(loss(teacher, student))
    return tape.gradient(value, [teacher, student])


# Features: less_forget, pod_flat.


@both_cosines
@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ([8.0, 6.0], 1 - 48 / 50),
        ([-4.0, 3.0], 1),
        ([-3.0, -4.0], 2),
        ([30.0, 40.0], 0),  # lengths have no effect
        ([0.0, 0.0], 1),
    ],
)
def test_one_minus_the_cosine(cosine_loss, student, expected):
    loss = cosine_loss(np.array([[3.0, 4.0]]), np.array([student]))
    np.testing.assert_allclose(loss, [expected], atol=1e-12)


@both_cosines
def test_features_follow_the_formula_in_float64(cosine_loss):
    teacher, student = random_features(0), random_features(1)
    product = np.einsum("if,if->i", teacher, student)
    lengths = [np.sqrt((x**2).sum(axis=1) + 1e-12) for x in (teacher, student)]
    loss = cosine_loss(teacher, student)
    assert loss.dtype == tf.float64
    np.testing.assert_allclose(
        loss, 1 - product / (lengths[0] * lengths[1]), rtol=0, atol=1e-10
    )


@both_cosines
def test_short_features_are_subject_to_the_reference_epsilon(cosine_loss):
    # A squared norm of 1e-12 counts double with the epsilon: the cosine is 1/2.
    short = np.array([[1e-6, 0.0]])
    np.testing.assert_allclose(cosine_loss(short, short), [0.5], rtol=1e-12)


@both_cosines
def test_loss_and_gradient_are_zero_for_equal_features(cosine_loss):
    features = random_features(0).astype(np.float32)
    np.testing.assert_allclose(cosine_loss(features, features), np.zeros(6), atol=1e-6)
    _, student = gradients(cosine_loss, features, features)
    np.testing.assert_allclose(student, np.zeros((6, 8)), atol=1e-6)


@both_cosines
def test_only_the_student_has_a_gradient_orthogonal_to_its_features(cosine_loss):
    student = random_features(1)
    to_teacher, to_student = gradients(cosine_loss, random_features(0), student)
    assert to_teacher is None
    assert np.abs(to_student).max(axis=1).min() > 0.01
    along = np.einsum("if,if->i", to_student, student)
    np.testing.assert_allclose(along, np.zeros(6), atol=1e-10)


@both_cosines
def test_features_of_zeros_have_a_finite_gradient(cosine_loss):
    _, student = gradients(cosine_loss, random_features(0), np.zeros((6, 8)))
    assert np.isfinite(student).all()


@both_cosines
def test_half_precision_features_are_computed_in_float32(cosine_loss):
    # A cosine of 1 - 3e-6 is 1 in bfloat16, whose steps below 1 are 4e-3.
    teacher = tf.constant([[1.0, 0.0]], "bfloat16")
    student = tf.constant([[1.0, 2.0**-9]], "bfloat16")
    loss = cosine_loss(teacher, student)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [1 - 1 / np.sqrt(1 + 2.0**-18)], atol=2e-7)


@both_cosines
def test_float64_teacher_works_with_a_float32_student(cosine_loss):
    teacher, student = random_features(0), random_features(1)
    loss = cosine_loss(teacher, student.astype(np.float32))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, cosine_loss(teacher, student), atol=1e-6)


@both_cosines
def test_features_of_different_layers_are_refused(cosine_loss):
    # One column would broadcast silently.
    with pytest.raises(ValueError, match=r"\(6, 1\) and \(6, 8\).*the same layer"):
        cosine_loss(np.zeros((6, 1)), random_features(1))


# Maps: pod_spatial.


def pooled_by_loops(image):
    """Unit vector of one map: sums of squares over each row, then each column."""
    height, width, num_channels = image.shape
    rows = [
        (image[h, :, c] ** 2).sum() for h in range(height) for c in range(num_channels)
    ]
    columns = [
        (image[:, w, c] ** 2).sum() for w in range(width) for c in range(num_channels)
    ]
    vector = np.array(rows + columns)
    return vector / np.sqrt((vector**2).sum())


def distance_by_loops(teacher, student):
    squared = (pooled_by_loops(teacher) - pooled_by_loops(student)) ** 2
    return np.sqrt(squared.sum() + 1e-12)


def one_map(values):
    """A batch of one map with one channel."""
    return np.array(values, np.float64)[None, :, :, None]


@pytest.mark.parametrize(
    ("teacher", "student", "squared_distance"),
    [
        # Rows, then columns: (1, 0, 1, 0) and (0, 1, 0, 1), both over sqrt(2).
        ([[1, 0], [0, 0]], [[0, 0], [0, 1]], 2),
        # (1, 0, 1, 0) and (1, 0, 0, 1): the same row.
        ([[1, 0], [0, 0]], [[0, 1], [0, 0]], 1),
        # (4, 0, 4, 0) / 4 sqrt(2) and (4, 1, 5, 0) / sqrt(42).
        ([[2, 0], [0, 0]], [[2, 0], [1, 0]], 2 - 2 * 9 / np.sqrt(2 * 42)),
        # The diagonals have the same sums.
        ([[1, 0], [0, 1]], [[0, 1], [1, 0]], 0),
        # Sign and size of a whole map have no effect.
        ([[1, 2], [3, 4]], [[-10, 20], [30, -40]], 0),
    ],
)
def test_worked_distances(teacher, student, squared_distance):
    loss = pod_spatial([one_map(teacher)], [one_map(student)])
    np.testing.assert_allclose(loss, [np.sqrt(squared_distance + 1e-12)], rtol=1e-9)


def test_maps_follow_the_formula_in_float64():
    teacher, student = random_maps(0), random_maps(1)
    expected = [
        np.mean(
            [
                distance_by_loops(t[i], s[i])
                for t, s in zip(teacher, student, strict=True)
            ]
        )
        for i in range(6)
    ]
    loss = pod_spatial(teacher, student)
    assert loss.dtype == tf.float64 and loss.shape == (6,)
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-10)


def test_pod_spatial_averages_over_the_list():
    teacher, student = random_maps(0), random_maps(1)
    each = [pod_spatial([t], [s]) for t, s in zip(teacher, student, strict=True)]
    np.testing.assert_allclose(
        pod_spatial(teacher, student), np.mean(each, axis=0), rtol=1e-12
    )


def test_equal_maps_give_the_smallest_loss_and_zero_gradient():
    maps = [image.astype(np.float32) for image in random_maps(0)]
    np.testing.assert_allclose(pod_spatial(maps, maps), np.full(6, 1e-6), rtol=1e-5)
    _, student = gradients(pod_spatial, maps, maps)
    for gradient in student:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_only_the_student_maps_have_a_gradient():
    to_teacher, to_student = gradients(pod_spatial, random_maps(0), random_maps(1))
    assert to_teacher == [None, None]
    for gradient in to_student:
        assert np.abs(gradient).max(axis=(1, 2, 3)).min() > 1e-3


def test_the_gradient_of_maps_agrees_with_finite_differences():
    teacher, student = random_maps(0), random_maps(1)
    _, (gradient, _) = gradients(pod_spatial, teacher, student)
    direction = np.random.default_rng(2).normal(size=student[0].shape)
    ahead, behind = (
        pod_spatial(teacher, [student[0] + step * direction, student[1]])
        for step in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(
        np.sum(gradient * direction, axis=(1, 2, 3)), (ahead - behind) / 2e-6, atol=1e-8
    )


@pytest.mark.parametrize("dead", ["teacher", "student", "both"])
def test_maps_of_zeros_have_a_finite_loss_and_gradient(dead):
    alive = [image.astype(np.float32) for image in random_maps(0)]
    zeros = [np.zeros_like(image) for image in alive]
    teacher = alive if dead == "student" else zeros
    student = alive if dead == "teacher" else zeros
    expected = 1e-6 if dead == "both" else 1
    np.testing.assert_allclose(
        pod_spatial(teacher, student), np.full(6, expected), rtol=1e-5
    )
    for gradient in gradients(pod_spatial, teacher, student)[1]:
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_maps_are_computed_in_float32(dtype):
    # 300 squared is not a float16, and 256 + 1 is not a bfloat16.
    teacher, student = one_map([[16, 1], [16, 1]]), one_map([[300, 1], [16, 1]])
    half = [tf.constant(image, dtype) for image in (teacher, student)]
    loss = pod_spatial(half[:1], half[1:])
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(
        loss, [distance_by_loops(teacher[0], student[0])], rtol=1e-6
    )
    _, (gradient,) = gradients(pod_spatial, half[:1], half[1:])
    assert gradient.dtype == dtype and tf.reduce_max(tf.abs(gradient)) > 0


def test_traced_function_works_with_unknown_batch_and_image_size():
    unknown = [tf.TensorSpec((None, None, None, s[2]), tf.float64) for s in MAP_SHAPES]
    traced = tf.function(pod_spatial, input_signature=[unknown, unknown])
    teacher, student = random_maps(0), random_maps(1)
    np.testing.assert_allclose(
        traced(teacher, student), pod_spatial(teacher, student), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ([], [], "Received: 0 and 0"),
        ([np.zeros((6, 2, 2, 3))] * 2, [np.zeros((6, 2, 2, 3))], "Received: 2 and 1"),
        # One channel would broadcast silently.
        ([np.zeros((6, 2, 2, 1))], [np.zeros((6, 2, 2, 3))], r"\(6, 2, 2, 1\) and"),
        # One map instead of a list of maps.
        (np.zeros((6, 2, 2, 3)), np.zeros((6, 2, 2, 3)), "in lists"),
    ],
)
def test_maps_that_are_not_pairs_are_refused(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        pod_spatial(teacher, student)

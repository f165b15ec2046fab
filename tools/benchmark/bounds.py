"""Upper bounds of the speed of an update: its convolutions only.

A matrix product shows the peak speed of the machine.
"""

import collections
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from tools.benchmark.keras_updates import make_network
from tools.benchmark.measure import Measurement, alternate
from tools.benchmark.task import PRECISIONS

# Batches take turns, because the next layer does not find its input in the cache.
_BATCHES = 8
_MATRIX_SIZE = 2048
_DTYPES = {"float32": tf.float32, "mixed_bfloat16": tf.bfloat16}


@dataclasses.dataclass(frozen=True)
class Shape:
    """Shapes and options of a convolution.

    Args:
        inputs, outputs: shapes `(batch, height, width, channels)`.
        kernel: shape `(height, width, input channels, output channels)`.
        stride, padding: options of the layer.
    """

    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int
    padding: str

    @property
    def options(self):
        """Arguments of all three operations."""
        return {"strides": [1, self.stride, self.stride, 1], "padding": self.padding}


def convolutions(plan):
    """Speed of the convolutions of an update, and of a matrix product."""
    products = {name: _product(_DTYPES[name]) for name in PRECISIONS}
    measured = [
        Measurement(
            f"matrix_product/{name}",
            "GFLOP/s",
            tuple(2e-9 * _MATRIX_SIZE**3 / sample for sample in samples),
        )
        for name, samples in alternate(products, plan.effort).items()
    ]
    for case in plan.cases:
        for precision in PRECISIONS:
            measured += _convolutions(case, precision, plan.effort)
    return measured


def _convolutions(case, precision, effort):
    counts = collections.Counter(_shapes(case))
    first = next(iter(counts))
    workloads = {
        (kind, shape): _run(kind, shape, _DTYPES[precision])
        for shape in counts
        for kind in _KINDS
        # Training does not compute the gradient by the images.
        if not (kind == "by_input" and shape == first)
    }
    seconds = {
        (kind, shape): counts[shape] / _BATCHES * np.array(samples)
        for (kind, shape), samples in alternate(workloads, effort).items()
    }
    prefix = f"convolutions/{case.name}"
    measured = []
    for kind in _KINDS:
        shapes = [shape for shape in counts if (kind, shape) in seconds]
        operations = sum(counts[shape] * _operations(shape) for shape in shapes)
        rates = 1e-9 * operations / sum(seconds[kind, shape] for shape in shapes)
        name = f"{prefix}/{kind}/{precision}"
        measured.append(Measurement(name, "GFLOP/s", tuple(rates)))
    speeds = case.batch_size / sum(seconds.values())
    name = f"{prefix}/update/{precision}"
    return [*measured, Measurement(name, "images/s", tuple(speeds))]


def _shapes(case):
    """Yields the `Shape`s of the convolutions of the network in their order."""
    keras.config.set_dtype_policy("float32")
    for layer in make_network(case)._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            yield Shape(
                inputs=(case.batch_size, *layer.input.shape[1:]),
                kernel=tuple(layer.kernel.shape),
                outputs=(case.batch_size, *layer.output.shape[1:]),
                stride=layer.strides[0],
                padding=layer.padding.upper(),
            )


def _operations(shape):
    """Number of multiplications and additions; each gradient has the same number."""
    height, width, channels, filters = shape.kernel
    pixels = shape.outputs[0] * shape.outputs[1] * shape.outputs[2]
    return 2 * pixels * height * width * channels * filters


def _run(kind, shape, dtype):
    """Returns a function that computes one kind of convolution on batches."""
    compute, sources = _KINDS[kind]
    batches = [
        [
            tf.cast(tf.random.stateless_normal(getattr(shape, source), (i, j)), dtype)
            for j, source in enumerate(sources)
        ]
        for i in range(_BATCHES)
    ]

    @tf.function(autograph=False)
    def run(batches):
        results = [compute(shape, *batch) for batch in batches]
        return tf.add_n([tf.reshape(result, [-1])[0] for result in results])

    return functools.partial(run, batches)


def _forward(shape, images, kernel):
    return tf.raw_ops.Conv2D(input=images, filter=kernel, **shape.options)


def _by_input(shape, kernel, gradient):
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=shape.inputs,
        filter=kernel,
        out_backprop=gradient,
        **shape.options,
    )


def _by_filter(shape, images, gradient):
    return tf.raw_ops.Conv2DBackpropFilter(
        input=images,
        filter_sizes=shape.kernel,
        out_backprop=gradient,
        **shape.options,
    )


_KINDS = {
    "forward": (_forward, ("inputs", "kernel")),
    "by_input": (_by_input, ("kernel", "outputs")),
    "by_filter": (_by_filter, ("inputs", "outputs")),
}


def _product(dtype):
    shape = (_MATRIX_SIZE, _MATRIX_SIZE)
    left, right = (
        tf.cast(tf.random.stateless_normal(shape, (seed, 0)), dtype) for seed in (1, 2)
    )

    @tf.function(autograph=False)
    def product(left, right):
        return tf.matmul(left, right)[0, 0]

    return functools.partial(product, left, right)

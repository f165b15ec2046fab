"""What bounds an update: its convolutions with nothing around them.

Also the matrix product, as the fastest thing that the machine does.
"""

import collections
import functools

import keras
import tensorflow as tf

from tools.benchmark_keras import make_network
from tools.benchmark_measure import Measurement, alternate
from tools.benchmark_task import PRECISIONS

# Batches that take turns: the next layer does not find its input in the cache either.
_BATCHES = 8
_MATRIX_SIZE = 2048
_DTYPES = {"float32": tf.float32, "mixed_bfloat16": tf.bfloat16}

Shape = collections.namedtuple("Shape", "inputs kernel outputs stride padding")


def convolutions(plan):
    """The convolutions of an update alone, and a matrix product."""
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
        # Nobody asks for the gradient by the images.
        if not (kind == "by_input" and shape == first)
    }
    seconds = alternate(workloads, effort)
    total = collections.defaultdict(lambda: [0.0] * effort.rounds)
    operations = collections.Counter()
    for (kind, shape), samples in seconds.items():
        operations[kind] += counts[shape] * _operations(shape)
        for name in (kind, "update"):
            for turn, sample in enumerate(samples):
                total[name][turn] += counts[shape] * sample / _BATCHES
    prefix = f"convolutions/{case.name}"
    return [
        Measurement(
            f"{prefix}/{kind}/{precision}",
            "GFLOP/s",
            tuple(1e-9 * operations[kind] / sample for sample in total[kind]),
        )
        for kind in _KINDS
    ] + [
        Measurement(
            f"{prefix}/update/{precision}",
            "images/s",
            tuple(case.batch_size / sample for sample in total["update"]),
        )
    ]


def _shapes(case):
    """The convolutions of the network, the first one first."""
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
    """Multiplications and additions; as many for each gradient."""
    height, width, channels, filters = shape.kernel
    pixels = shape.outputs[0] * shape.outputs[1] * shape.outputs[2]
    return 2 * pixels * height * width * channels * filters


def _run(kind, shape, dtype):
    """A function that computes one kind of convolution on a few batches in turn."""
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
    strides = [1, shape.stride, shape.stride, 1]
    return tf.raw_ops.Conv2D(
        input=images, filter=kernel, strides=strides, padding=shape.padding
    )


def _by_input(shape, kernel, gradient):
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=shape.inputs,
        filter=kernel,
        out_backprop=gradient,
        strides=[1, shape.stride, shape.stride, 1],
        padding=shape.padding,
    )


def _by_filter(shape, images, gradient):
    return tf.raw_ops.Conv2DBackpropFilter(
        input=images,
        filter_sizes=shape.kernel,
        out_backprop=gradient,
        strides=[1, shape.stride, shape.stride, 1],
        padding=shape.padding,
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

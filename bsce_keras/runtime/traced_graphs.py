"""Release of traced graphs, which TensorFlow keeps until the process ends."""

# Private, because entries of `tf.custom_gradient` cannot be removed in a public way.
from tensorflow.python.framework.ops import gradient_registry


def release(traced):
    """Frees the graph of a concrete function that will not be called again.

    TensorFlow (2.21) keeps it for two reasons. It turns off its own clean-up of graphs
    that `tf.function` traces. The graph's operations then reference each other outside
    the reach of garbage collection. Also, `tf.custom_gradient` registers a closure over
    the graph's tensors in a table of the process. Every all-reduce uses it, even on one
    device.

    Args:
        traced: result of `get_concrete_function`, or None. Gradients cannot pass
            through it afterwards.
    """
    if traced is not None:
        for name in _custom_gradients(traced.graph):
            gradient_registry._registry.pop(name, None)
        traced.graph.Dismantle()


def _custom_gradients(graph):
    """Returns names of the registered gradients of the graph's own operations."""
    attributes = (
        operation.node_def.attr
        for operation in graph.get_operations()
        if operation.type == "IdentityN"
    )
    names = (attribute["_gradient_op_type"].s.decode() for attribute in attributes)
    return [name for name in names if name.startswith("CustomGradient-")]

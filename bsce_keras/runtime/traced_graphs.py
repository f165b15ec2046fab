"""Letting go of traced graphs, which TensorFlow would keep as long as the process."""

# Private, for want of a public way to take back what `tf.custom_gradient` registers.
from tensorflow.python.framework.ops import gradient_registry


def release(traced):
    """Frees the graph of a concrete function that will not be called again.

    TensorFlow (2.21) keeps it for two reasons. It calls off its own clean-up of
    whatever `tf.function` traces, so that the graph's operations hold each other where
    no garbage collection looks. And `tf.custom_gradient`, which every all-reduce goes
    through, on one device too, enters a closure over the graph's tensors into a table
    that lives as long as the process.

    Args:
        traced: what `get_concrete_function` returned, or None. Nothing can be
            differentiated through it afterwards.
    """
    if traced is not None:
        for name in _custom_gradients(traced.graph):
            gradient_registry._registry.pop(name, None)
        traced.graph.Dismantle()


def _custom_gradients(graph):
    """Names under which gradients of the graph's own operations are registered."""
    attributes = (
        operation.node_def.attr
        for operation in graph.get_operations()
        if operation.type == "IdentityN"
    )
    names = (attribute["_gradient_op_type"].s.decode() for attribute in attributes)
    return [name for name in names if name.startswith("CustomGradient-")]

"""Images, class orders and streams of steps. Importing it does not load TensorFlow."""

__all__ = ["class_order"]


def __getattr__(name):
    if name == "class_order":
        from bsce_keras.data.class_orders import class_order

        return class_order
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

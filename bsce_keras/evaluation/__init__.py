"""Scores of a run: metrics in NumPy, predictors and evaluation in TensorFlow."""

__all__ = ["average_incremental_accuracy", "forgetting"]


def __getattr__(name):
    if name in __all__:
        from bsce_keras.evaluation import metrics

        return getattr(metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Devices, strategy and precision: decided once, before the first tensor."""

import keras
import tensorflow as tf

from bsce_keras.errors import RequestError, RunError


def prepare_runtime(config):
    """Sets devices, determinism and precision for this process.

    Args:
        config: `TrainingConfig`.

    Returns:
        The `tf.distribute` strategy to build models in. On one device it is
        TensorFlow's default strategy, which costs nothing.

    Raises:
        RequestError: a global batch that leaves a replica without images.
        RunError: devices were already in use with another layout.
    """
    if config.virtual_devices:
        _split_cpu(config.virtual_devices)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(resolve_precision(config.precision))
    strategy = _make_strategy(config)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size < replicas:
        raise RequestError(
            f"--batch_size={config.batch_size} is the global batch, and {replicas} "
            f"replicas share it. Give at least {replicas}, or fewer devices."
        )
    return strategy


def resolve_precision(name):
    """What `auto` means here: bfloat16 where the hardware computes in it."""
    if name != "auto":
        return name
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [
            tf.config.experimental.get_device_details(gpu).get(
                "compute_capability", (0, 0)
            )
            for gpu in gpus
        ]
        native = min(capabilities) >= (8, 0)
    else:
        native = bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())
    return "mixed_bfloat16" if native else "float32"


def _make_strategy(config):
    gpus = tf.config.list_logical_devices("GPU")
    mirrored = config.strategy == "mirrored" or (
        config.strategy == "auto" and len(gpus) > 1
    )
    if not mirrored:
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _split_cpu(num_devices):
    cpu = tf.config.list_physical_devices("CPU")[0]
    current = tf.config.get_logical_device_configuration(cpu) or [None]
    if len(current) == num_devices:
        return
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(num_devices)]
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        raise RunError(
            f"--virtual_devices={num_devices} needs a process in which TensorFlow has "
            "not computed anything yet. Start a new one."
        ) from error


def _cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return set()
    return set(lines[0].split()) if lines else set()

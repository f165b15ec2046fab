"""Devices, strategy and precision, set up before the first tensor."""

import contextlib
import dataclasses
import functools
import logging
import os
import signal
import threading

import tensorflow as tf

from bsce_keras.runtime.cluster import read_cluster
from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.machine import cpu_facts
from bsce_keras.runtime.precision import dtype_policy
from bsce_keras.runtime.signals import StopRequests, ctrl_c_handler
from bsce_keras.runtime.tensorflow_errors import as_memory_errors
from bsce_keras.runtime.tensorflow_import import refuse_other_keras, uses_onednn
from bsce_keras.runtime.text import listed
from bsce_keras.runtime.workers import Workers, lost_workers_told

_log = logging.getLogger(__name__)

# Held while a run goes on: its dtype policy and seeds are global in Keras.
_run_of_process = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Devices, workers and signals of the process that trains.

    Args:
        strategy: `tf.distribute` strategy to build models in; by default, that of the
            current scope. On one device, this is TensorFlow's default strategy, which
            costs nothing.
        stop_requests: `StopRequests`; by default, without requests.
        workers: `Workers` of the strategy; by default, made from the strategy.
    """

    strategy: tf.distribute.Strategy | None = None
    stop_requests: StopRequests | None = None
    workers: Workers | None = None

    def __post_init__(self):
        if self.strategy is None:
            object.__setattr__(self, "strategy", tf.distribute.get_strategy())
        if self.stop_requests is None:
            object.__setattr__(self, "stop_requests", StopRequests())
        if self.workers is None:
            object.__setattr__(self, "workers", Workers(self.strategy))

    def stop_signal(self):
        """Returns the number of a signal that any worker recorded, or 0.

        All workers must call this method.
        """
        return max(self.workers.told(self.stop_requests.signum or 0))


@contextlib.contextmanager
def prepared_runtime(config):
    """Sets up devices, determinism, precision and signals while an experiment runs.

    Dtype policy and signal handlers are restored afterwards. Virtual devices and
    deterministic operations stay, because TensorFlow cannot undo them.

    Args:
        config: `TrainingConfig`, resolved.

    Yields:
        The `Runtime`.

    Raises:
        RequestError: another run is going on in this process, a strategy's scope is
            open, Keras has settings that training does not work with, or the global
            batch has fewer images than replicas.
        RunError: devices are already in use with another layout, or the other workers
            cannot be reached.
        MemoryError: TensorFlow has run out of memory.
    """
    refuse_other_keras()
    if tf.distribute.has_strategy():
        raise RequestError(
            "A run sets up its own devices. Start it outside of `strategy.scope()`, "
            "and name its devices by --strategy or --virtual_devices."
        )
    if not _run_of_process.acquire(blocking=False):
        raise RequestError(
            "Another run is going on in this process, and Keras has one precision and "
            "one set of seeds for both. Wait for it, or start a second process."
        )
    try:
        strategy = _prepared_strategy(config)
        with dtype_policy(config.precision), StopRequests() as stop_requests:
            runtime = Runtime(strategy, stop_requests)
            if runtime.workers.number > 1:
                # All workers stop at the same update, or the others would lose one.
                stop_requests.record()
            with as_memory_errors(), lost_workers_told(runtime.workers):
                yield runtime
    finally:
        _run_of_process.release()


def _prepared_strategy(config):
    """Strategy of a `TrainingConfig`, once devices are set up for it."""
    if config.virtual_devices:
        _split_cpu(config.virtual_devices)
    is_one_device = config.strategy == "one_device" and not config.virtual_devices
    if is_one_device or config.intra_op_threads:
        # Replicas on one CPU need several operations at a time.
        limit_threads(config.intra_op_threads, one_operation=is_one_device)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = tf.distribute.get_strategy()
    if config.strategy == "mirrored":
        strategy = mirrored_strategy()
    elif config.strategy == "multi_worker":
        strategy = _multi_worker_strategy(read_cluster())
    replicas = strategy.num_replicas_in_sync
    if config.batch_size < replicas:
        raise RequestError(
            f"--batch_size={config.batch_size} is the global batch, which {replicas} "
            f"replicas share. Use at least {replicas}, or --strategy=one_device."
        )
    if config.strategy != "multi_worker" and os.environ.get("TF_CONFIG"):
        _log.warning(
            "TF_CONFIG is set, but --strategy=%s trains only in this process. Use "
            "--strategy=multi_worker to share the run with other workers.",
            config.strategy,
        )
    return strategy


def mirrored_strategy():
    """Returns the process's only `MirroredStrategy`, over all of its devices.

    A second one on the same devices would number its all-reduces from the start.
    TensorFlow (2.21) confuses them with those of the first one: "Shape mismatch in the
    collective instance".
    """
    return _mirrored_strategy(tuple(_devices()))


@functools.cache
def _mirrored_strategy(devices):
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker_strategy(cluster):
    """Returns the process's only multi-worker strategy; waits for all workers."""
    others = [a for i, a in enumerate(cluster.workers) if i != cluster.index]
    role = ", the chief, which writes the run folder," if cluster.is_chief else ""
    if others:
        print(f"worker {cluster.index}{role} waits for {listed(others)}", flush=True)
    try:
        # Ctrl-C ends the process at once: TensorFlow does not look at signals here.
        with ctrl_c_handler(signal.SIG_DFL):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise RunError(
            f"worker {cluster.index} could not join the others at "
            f"{cluster.workers[cluster.index]}: {error}. Check that TF_CONFIG names "
            "addresses that they can reach, that the port is free, and that TensorFlow "
            "has not computed anything yet in this process."
        ) from error


def limit_threads(intra_op_threads=0, one_operation=True):
    """Runs one operation at a time with all cores, on machines without GPU.

    The operations of a network are large enough to fill a CPU. By default, TensorFlow
    runs the two gradients of a convolution at the same time, and they compete for cores
    and caches. An update of ResNet-32 on two cores is 5 to 15 % slower then. With a
    GPU, the CPU only schedules work, and TensorFlow's default stays.

    Args:
        intra_op_threads: threads of one operation; 0 for one per logical CPU of the
            process. CPU affinity counts; the quota of a container does not.
        one_operation: False leaves the number of operations at a time to TensorFlow.

    Raises:
        RunError: `intra_op_threads` was given after TensorFlow had computed something.
    """
    try:
        if intra_op_threads:
            tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        if one_operation and not tf.config.list_physical_devices("GPU"):
            tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        # A program that has used TensorFlow before already has its threads.
        if intra_op_threads not in (
            0,
            tf.config.threading.get_intra_op_parallelism_threads(),
        ):
            raise RunError(
                f"--intra_op_threads={intra_op_threads} needs a process in which "
                "TensorFlow has not computed anything yet. Start a new one."
            ) from error


def resolved(config):
    """Returns the `TrainingConfig` with `auto` replaced by the actual values.

    `auto` precision: see `resolve_precision`. `auto` strategy is mirrored with several
    GPUs or virtual devices, else one device.
    """
    strategy = config.strategy
    if strategy == "auto":
        num_gpus = len(tf.config.list_physical_devices("GPU"))
        several = max(num_gpus, config.virtual_devices) > 1
        strategy = "mirrored" if several else "one_device"
    return dataclasses.replace(
        config, strategy=strategy, precision=resolve_precision(config.precision)
    )


def resolve_precision(name):
    """Returns the precision; `auto` is bfloat16 if the hardware is faster in it.

    This holds for GPUs from compute capability 8.0 on, for CPUs with AMX, and for AMD's
    with AVX-512 BF16. CPUs need oneDNN: without it, TensorFlow converts bfloat16 to
    float32, which is several times slower. On a Xeon limited to AVX-512 (by
    ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16), an update of ResNet-32 took 1.8 times as long
    in bfloat16 as in float32.
    """
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
        cpu = cpu_facts()
        flags = cpu.get("flags", "").split()
        native = uses_onednn() is not False and (
            "amx_bf16" in flags
            or ("avx512_bf16" in flags and cpu.get("vendor_id") == "AuthenticAMD")
        )
    return "mixed_bfloat16" if native else "float32"


def _devices():
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]


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


def devices_in_words(strategy):
    """Number and kind of the devices that share a batch, such as `2 x GPU`."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    number = strategy.num_replicas_in_sync
    return kind if number == 1 else f"{number} x {kind}"

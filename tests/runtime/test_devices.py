"""Threads, strategies and precision of a process."""

import concurrent.futures
import dataclasses
import signal

import pytest
import tensorflow as tf

from bsce_keras.config import TrainingConfig
from bsce_keras.runtime import devices, machine
from bsce_keras.runtime.devices import (
    limit_threads,
    prepared_runtime,
    resolve_precision,
)
from bsce_keras.runtime.errors import RequestError, RunError


@pytest.fixture
def threads(monkeypatch):
    """Settings of threads that TensorFlow gets before it has computed anything."""
    told = {}
    for kind in ("intra", "inter"):
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(
            tf.config.threading,
            name,
            lambda number, kind=kind: told.update({kind: number}),
        )
    return told


def test_machine_without_gpu_runs_one_operation_at_a_time(threads, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    limit_threads()
    assert threads == {"inter": 1}


def test_machine_with_gpu_keeps_tensorflows_threads(threads, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    limit_threads()
    assert threads == {}


def test_threads_of_one_operation_are_the_requested_number(threads, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    limit_threads(3)
    assert threads == {"intra": 3, "inter": 1}


@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_threads_of_one_operation_are_set_for_several_devices_too(
    strategy, threads, monkeypatch
):
    monkeypatch.setattr(devices, "mirrored_strategy", tf.distribute.get_strategy)
    monkeypatch.setattr(
        devices, "_multi_worker_strategy", lambda _: tf.distribute.get_strategy()
    )
    monkeypatch.setattr(devices, "read_cluster", lambda: None)
    config = dataclasses.replace(training(strategy), intra_op_threads=3)
    with prepared_runtime(config):
        assert threads == {"intra": 3}


def test_late_request_of_threads_is_refused():
    tf.constant(1.0) + 1.0  # TensorFlow creates its threads here
    limit_threads()
    with pytest.raises(RunError, match="--intra_op_threads=37 needs a process"):
        limit_threads(37)


def training(strategy):
    return TrainingConfig(
        epochs=1,
        batch_size=2,
        learning_rate=0.1,
        weight_decay=0.0,
        precision="float32",
        strategy=strategy,
    )


def test_experiments_of_a_process_share_one_mirrored_strategy(two_devices):
    """TensorFlow confuses the all-reduces of two strategies on the same devices."""
    for _ in range(2):
        with prepared_runtime(training("mirrored")) as runtime:
            assert runtime.strategy is two_devices


TF_CONFIG = (
    '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}'
)


def test_worker_that_cannot_join_reports_address_and_reason(monkeypatch, capsys):
    def join():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setenv("TF_CONFIG", TF_CONFIG)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", join)
    before = signal.getsignal(signal.SIGINT)
    refused = pytest.raises(RunError, match=r"worker 1 could not join .* at b:2: Could")
    with refused, prepared_runtime(training("multi_worker")):
        pass
    assert "worker 1 waits for a:1" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) == before


def test_ignored_tf_config_is_reported(monkeypatch, caplog):
    monkeypatch.setenv("TF_CONFIG", TF_CONFIG)
    with prepared_runtime(training("one_device")):
        pass
    assert "--strategy=one_device trains only in this process" in caplog.text


def test_a_second_run_in_another_thread_is_refused():
    """Two runs in one process would share dtype policy and random numbers."""

    def enter():
        with prepared_runtime(training("one_device")):
            return "entered"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with prepared_runtime(training("one_device")):
            refusal = pool.submit(enter).exception()
        assert isinstance(refusal, RequestError)
        assert "Another run is going on in this process" in str(refusal)
        assert pool.submit(enter).result() == "entered"


def test_a_run_in_the_scope_of_a_strategy_is_refused(two_devices):
    """Keras's session is cleared between steps; the scope could not be left then."""
    refused = pytest.raises(RequestError, match=r"outside of `strategy.scope\(\)`")
    with two_devices.scope(), refused, prepared_runtime(training("one_device")):
        pass


AMX = ("GenuineIntel", "fma avx512f avx512_bf16 amx_bf16 amx_tile")
ZEN_4 = ("AuthenticAMD", "fma avx512f avx512_bf16")


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """Replaces the facts about the CPU of this machine, and hides GPUs."""

    def become(vendor, flags, onednn=True):
        facts = tmp_path / "cpuinfo"
        one = f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n"
        facts.write_text(f"processor\t: 0\n{one}\nprocessor\t: 1\n{one}")
        monkeypatch.setattr(machine, "CPU_INFO", str(facts))
        monkeypatch.setattr(devices, "uses_onednn", lambda: onednn)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    return become


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        (*AMX, "mixed_bfloat16"),
        (*ZEN_4, "mixed_bfloat16"),
        # These CPUs are slower in bfloat16.
        ("GenuineIntel", "fma avx512f avx512_bf16", "float32"),
        ("AuthenticAMD", "fma avx2", "float32"),
    ],
)
def test_auto_precision_is_the_faster_one_of_the_cpu(vendor, flags, precision, cpu):
    cpu(vendor, flags)
    assert resolve_precision("auto") == precision
    assert resolve_precision("float32") == "float32"


@pytest.mark.parametrize("kind", [AMX, ZEN_4])
def test_auto_precision_is_float32_without_onednn(kind, cpu):
    cpu(*kind, onednn=False)
    assert resolve_precision("auto") == "float32"


@pytest.mark.parametrize("kind", [AMX, ZEN_4])
def test_auto_precision_assumes_onednn_if_unknown(kind, cpu):
    cpu(*kind, onednn=None)
    assert resolve_precision("auto") == "mixed_bfloat16"


def test_auto_precision_is_float32_on_unknown_cpus(monkeypatch):
    monkeypatch.setattr(machine, "CPU_INFO", "/nowhere")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert resolve_precision("auto") == "float32"

"""TensorFlow loads with oneDNN unless the user sets it, and records tell so."""

import os
import platform
import sys
import types

import pytest

from bsce_keras.runtime.tensorflow_import import prefer_onednn, uses_onednn

SETTING = "TF_ENABLE_ONEDNN_OPTS"


@pytest.fixture
def unset(monkeypatch):
    """Simulates an x86 process without the setting and without TensorFlow."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    # `setenv` first, because `delenv` restores only variables that existed.
    monkeypatch.setenv(SETTING, "")
    monkeypatch.delenv(SETTING)


def test_onednn_is_on_by_default(unset):
    prefer_onednn()
    assert os.environ[SETTING] == "1"


@pytest.mark.parametrize("value", ["0", "1", "false", ""])
def test_setting_of_the_user_stays(value, unset, monkeypatch):
    monkeypatch.setenv(SETTING, value)
    prefer_onednn()
    assert os.environ[SETTING] == value


def test_setting_stays_after_tensorflow_is_loaded(unset, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    prefer_onednn()
    assert SETTING not in os.environ


def test_other_cpus_keep_tensorflows_default(unset, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    prefer_onednn()
    assert SETTING not in os.environ


def test_onednn_is_unknown_before_tensorflow_is_loaded(unset):
    assert uses_onednn() is None


x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the default is set on x86"
)


@x86
@pytest.mark.parametrize(
    "load",
    [
        "from bsce_keras import run_experiment",
        pytest.param(
            "from bsce_keras.runtime.tensorflow_import import import_tensorflow\n"
            "import_tensorflow()",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_run_experiment_and_the_commands_load_tensorflow_with_onednn(
    load, run_python, unset
):
    run_python(f"""
import os
from bsce_keras.records.versions import versions
assert versions()["onednn"] is None
{load}
assert os.environ["{SETTING}"] == "1"
assert versions()["onednn"] is True
""")


@pytest.mark.slow
def test_versions_record_the_setting_tensorflow_loaded_with(run_python, unset):
    run_python(f"""
import os
os.environ["{SETTING}"] = "0"
import tensorflow
del os.environ["{SETTING}"]
from bsce_keras import run_experiment
from bsce_keras.records.versions import versions
assert "{SETTING}" not in os.environ
assert versions()["onednn"] is False
""")

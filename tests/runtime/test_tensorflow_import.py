"""TensorFlow loads with oneDNN, unless the user decided otherwise, and tells so."""

import os
import platform
import sys
import types

import pytest

from bsce_keras.runtime.tensorflow_import import prefer_onednn, uses_onednn

SETTING = "TF_ENABLE_ONEDNN_OPTS"


@pytest.fixture
def unset(monkeypatch):
    """A process on x86 that has not loaded TensorFlow, without the setting."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    # So that the value of a test goes with it: `delenv` restores only what it found.
    monkeypatch.setenv(SETTING, "")
    monkeypatch.delenv(SETTING)


def test_onednn_is_asked_for_where_nobody_decided(unset):
    prefer_onednn()
    assert os.environ[SETTING] == "1"


@pytest.mark.parametrize("value", ["0", "1", "false", ""])
def test_the_users_setting_stays(value, unset, monkeypatch):
    monkeypatch.setenv(SETTING, value)
    prefer_onednn()
    assert os.environ[SETTING] == value


def test_nothing_is_set_once_tensorflow_is_loaded(unset, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    prefer_onednn()
    assert SETTING not in os.environ


def test_cpus_other_than_x86_keep_the_default_of_tensorflow(unset, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    prefer_onednn()
    assert SETTING not in os.environ


def test_before_tensorflow_is_loaded_the_setting_is_unknown(unset):
    assert uses_onednn() is None


x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the default is set on x86"
)


@x86
@pytest.mark.parametrize(
    "load",
    [
        "from bsce_keras import run_experiment",
        "from bsce_keras.runtime import tensorflow_import as i; i.import_tensorflow()",
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


def test_versions_tell_what_tensorflow_loaded_with_not_what_was_set_later(
    run_python, unset
):
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

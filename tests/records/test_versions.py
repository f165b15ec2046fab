"""versions.json names the commit, the machine and the times of a run."""

import dataclasses
import subprocess
import sys

import pytest

from bsce_keras.methods import own_methods
from bsce_keras.records import run_identity
from bsce_keras.records.run_identity import begin_run, end_run
from bsce_keras.records.run_records import read_record
from bsce_keras.records.versions import commit, iso_time, provenance, versions


@pytest.fixture
def checkout(tmp_path):
    """Repository with one commit, and a function that runs git in it."""

    def git(*arguments):
        user = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", "-C", str(tmp_path), *user, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/code.py").write_text("1\n")
    git("add", "-A")
    git("commit", "-m", "first")
    commit.cache_clear()
    yield tmp_path, git
    commit.cache_clear()


def test_the_commit_is_that_of_the_checkout_and_marks_changes(checkout):
    root, git = checkout
    assert commit(root) == git("rev-parse", "HEAD")
    (root / "package/code.py").write_text("2\n")
    commit.cache_clear()
    assert commit(root) == git("rev-parse", "HEAD") + "-dirty"


def test_a_package_inside_another_checkout_lacks_a_commit(checkout, tmp_path):
    root, _ = checkout
    assert commit(root / "package") is None


def test_provenance_counts_cores_and_memory():
    told = provenance()
    assert told["cores"] >= 1 and told["memory_gb"] > 0


def test_a_resumed_run_keeps_its_start_and_a_complete_one_its_end(
    make_config, tmp_path, monkeypatch
):
    config = make_config(run_dir=tmp_path / "run")

    def times():
        facts = read_record(tmp_path / "run/versions.json")
        return facts["started"], facts["ended"]

    at = [iso_time(seconds) for seconds in (0, 60, 120, 180)]
    monkeypatch.setattr(run_identity, "now", lambda: at.pop(0))
    begin_run(config.run_dir, config, 1)
    begin_run(config.run_dir, config, 1)
    assert times() == ("1970-01-01T00:00:00+00:00", None)
    end_run(config.run_dir)
    assert times() == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:01:00+00:00")
    (tmp_path / "run/summary.json").write_text("{}")
    # Repeating the command of a complete run keeps the time.
    begin_run(config.run_dir, config, 1)
    end_run(config.run_dir)
    assert times() == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:01:00+00:00")


def test_versions_name_the_packages_of_this_process():
    found = versions()
    assert {"python", "bsce_keras", "tensorflow", "keras", "numpy", "cpu"} <= set(found)
    assert found["tensorflow"].startswith("2.")


def test_a_run_that_goes_on_with_other_versions_says_so_and_keeps_the_history(
    make_config, tmp_path, monkeypatch, caplog
):
    config = make_config(run_dir=tmp_path / "run")
    now = run_identity.versions()
    older = {**now, "numpy": "1.0.0", "cpu": "another"}
    for facts, next_step in ((older, 0), (older, 1), (now, 1), (older, 3)):
        monkeypatch.setattr(run_identity, "versions", lambda facts=facts: facts)
        begin_run(config.run_dir, config, 1, next_step=next_step)
    [record] = caplog.records
    assert "goes on from step 1" in record.getMessage()
    assert f"numpy was 1.0.0, now {now['numpy']}" in record.getMessage()
    assert "cpu was another" in record.getMessage()
    told = read_record(tmp_path / "run/versions.json")
    # Step 3 is beyond the last one: the fourth process trained nothing.
    assert told["numpy"] == now["numpy"]
    trained = [(entry["from_step"], entry["numpy"]) for entry in told["history"]]
    assert trained == [(0, "1.0.0"), (1, now["numpy"])]


SOURCE = """
from bsce_keras.methods.base import Method
class Mine(Method):
    def classification_weight(self, context):
        return {weight}
"""


def test_a_run_that_goes_on_with_another_source_of_its_method_says_so(
    make_config, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(own_methods, "_known", {})
    config = make_config(run_dir=tmp_path / "run")
    method = dataclasses.replace(config.method, name="changing:Mine")
    config = dataclasses.replace(config, method=method)
    for next_step, weight in enumerate([1, 1, 0.25]):
        # What stands outside of the class does not count.
        source = "# note\n" * next_step + SOURCE.format(weight=weight)
        (tmp_path / "changing.py").write_text(source)
        own_methods.know("changing:Mine")
        begin_run(config.run_dir, config, 1, next_step=next_step)
        del sys.modules["changing"]
    # Nobody can tell the source of a class that is not loaded from a file.
    monkeypatch.setattr(own_methods, "_known", {})
    begin_run(config.run_dir, config, 1, next_step=2)
    [record] = caplog.records
    assert "goes on from step 2 with another source" in record.getMessage()
    assert "--method=changing:Mine" in record.getMessage()
    told = read_record(tmp_path / "run/versions.json")["history"]
    assert [entry["from_step"] for entry in told] == [0, 2]

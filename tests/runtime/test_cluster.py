"""TF_CONFIG is read without TensorFlow, and what is wrong with it is told."""

import json

import pytest

from bsce_keras import reproduce, train, tune
from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime.cluster import read_cluster
from bsce_keras.runtime.errors import RequestError

HOSTS = ["a:1", "b:2"]
FIRST = {"type": "worker", "index": 0}


def tf_config(workers=HOSTS, index=1, **more):
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": workers}, "task": task, **more})


def test_worker_reads_addresses_and_its_index():
    cluster = read_cluster(tf_config())
    assert (cluster.workers, cluster.index) == (("a:1", "b:2"), 1)
    assert not cluster.is_chief
    assert read_cluster(tf_config(index=0)).is_chief


def test_a_chief_joins_the_others_before_it_refuses_a_folder(
    tmp_path, monkeypatch, capsys
):
    """Otherwise they wait for it without end, and never learn the reason."""

    def join():
        raise RequestError("waits for the others")

    monkeypatch.setenv("TF_CONFIG", tf_config(index=0))
    monkeypatch.setattr(train, "import_keras", join)
    run_dir = tmp_path / "run"
    flags = ["--dataset=digits", "--num_base_classes=8", f"--run_dir={run_dir}"]
    with run_lock(run_dir):
        assert train.main([*flags, "--strategy=multi_worker"]) == 2
        assert "waits for the others" in capsys.readouterr().err
        # A run without other workers is refused at once.
        assert train.main(flags) == 2
        assert "is in use by process" in capsys.readouterr().err


def test_additional_fields_of_schedulers_are_accepted():
    text = tf_config(["10.0.0.1:2222", "[::1]:2222"], environment="cloud")
    assert read_cluster(text).workers == ("10.0.0.1:2222", "[::1]:2222")


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["needs the environment variable TF_CONFIG", '"worker": ["HOST_A:2222"']),
        ("  ", ["needs the environment variable TF_CONFIG"]),
        ("{'cluster'", ["TF_CONFIG must be JSON such as", "Received: {'cluster'"]),
        ("[" * 100_000, ["TF_CONFIG must be JSON"]),
        ("[]", ["needs a `cluster`", "needs a `task`"]),
        ("{}", ["needs a `cluster`", "Received: cluster=null", "needs a `task`"]),
        (json.dumps({"cluster": HOSTS, "task": FIRST}), ["needs a `cluster`"]),
        (
            json.dumps({"cluster": {"ps": ["a:1"]}, "task": FIRST}),
            ["needs a `cluster`", '{"ps": ["a:1"]}'],
        ),
        (
            json.dumps({"cluster": {"worker": HOSTS, "chief": ["c:3"]}, "task": FIRST}),
            ["must name only workers", "also chief", "to `worker`"],
        ),
        (tf_config([], 0), ["HOST:PORT of every worker", "[]"]),
        (tf_config("a:1", 0), ["HOST:PORT of every worker"]),
        (tf_config(["a"], 0), ["HOST:PORT of every worker"]),
        (tf_config([":1"], 0), ["HOST:PORT of every worker"]),
        (tf_config(["a:0"], 0), ["port from 1 to 65535"]),
        (tf_config(["a:65536"], 0), ["port from 1 to 65535"]),
        (tf_config(["a:1" + "0" * 9999], 0), ["port from 1 to 65535"]),
        (tf_config([1, 2], 0), ["HOST:PORT of every worker"]),
        (tf_config(["a:1", "a:1"]), ["a different address", "different ports"]),
        (tf_config(index=2), ["index from 0 to 1, the last worker"]),
        (tf_config(index=-1), ["index from 0 to 1"]),
        (tf_config(index="1"), ["index from 0 to 1", '"index": "1"']),
        (tf_config(index=True), ["index from 0 to 1"]),
        (json.dumps({"cluster": {"worker": HOSTS}}), ["needs a `task`", "task=null"]),
        (
            json.dumps({"cluster": {"worker": HOSTS}, "task": {"index": 0}}),
            ["needs a `task`"],
        ),
        (
            json.dumps(
                {"cluster": {"worker": HOSTS}, "task": {"type": "ps", "index": 0}}
            ),
            ['a task of type "worker"', '"type": "ps"'],
        ),
    ],
)
def test_invalid_tf_config_is_refused(text, fragments, monkeypatch):
    with pytest.raises(RequestError) as refusal:
        read_cluster(text)
    for fragment in fragments:
        assert fragment in str(refusal.value)
    monkeypatch.setenv("TF_CONFIG", text)
    problems = request_problems("digits", strategy="multi_worker")
    assert problems == refusal.value.problems


def test_batch_smaller_than_the_number_of_workers_is_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(["a:1", "b:1", "c:1"]))
    assert make_config("digits", strategy="multi_worker", batch_size=3)
    (problem,) = request_problems("digits", strategy="multi_worker", batch_size=2)
    assert problem.startswith("--batch_size=2 is the size over all workers")
    assert "TF_CONFIG names 3 workers" in problem


def test_other_strategies_ignore_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "not JSON")
    assert request_problems("digits", strategy="mirrored") == []


def test_train_refuses_with_exit_code_2_and_writes_nothing(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", tf_config(index=7))
    assert train.main(["--dataset=digits", "--strategy=multi_worker"]) == 2
    assert "index from 0 to 1" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", tf_config()])
def test_commands_of_many_runs_refuse_several_workers(
    text, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", text)
    (tmp_path / "a.flags").write_text("--dataset=digits\n")
    asked = {
        tune: ["--dataset=digits", "--alphas=1"],
        reproduce: ["a.flags"],
    }
    for command, arguments in asked.items():
        assert command.main([*arguments, "--strategy=multi_worker"]) == 2
        message, hint = capsys.readouterr().err.splitlines()
        assert "--strategy=multi_worker is for bsce_keras.train" in message
        assert "--help" in hint

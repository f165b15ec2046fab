"""TF_CONFIG: the workers that share a run, and the index of this process.

This module does not import TensorFlow.
"""

import dataclasses
import json
import os

from bsce_keras.runtime.errors import Problems, RequestError
from bsce_keras.runtime.text import listed

_EXAMPLE = (
    '{"cluster": {"worker": ["HOST_A:2222", "HOST_B:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Args:
        workers: address `HOST:PORT` of each worker.
        index: index of this process among the workers.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self):
        """True for the first worker, which writes the run folder."""
        return self.index == 0


def read_cluster(text=None):
    """Returns the `Cluster` that TF_CONFIG describes.

    Args:
        text: value of TF_CONFIG; by default, that of the environment.

    Raises:
        RequestError: TF_CONFIG is missing or invalid; lists every problem.
    """
    text = os.environ.get("TF_CONFIG") if text is None else text
    if not (text or "").strip():
        raise RequestError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, which "
            f"names all workers and this one: {_EXAMPLE}. Set it for every worker, or "
            "use --strategy=mirrored for all devices of this machine."
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"TF_CONFIG must be JSON such as {_EXAMPLE}. Received: {_cut(text)} "
            f"({error})"
        ) from error
    config = config if isinstance(config, dict) else {}
    workers, problems = _workers(config.get("cluster"))
    index, wrong = _index(config.get("task"), workers)
    if problems or wrong:
        raise RequestError(problems + wrong)
    return Cluster(tuple(workers), index)


def cluster_problems(asked):
    """Returns problems of TF_CONFIG if a `Request` asks for several workers."""
    if asked.strategy != "multi_worker":
        return []
    problems = Problems()
    cluster = problems.attempt(read_cluster)
    num_workers = len(cluster.workers) if cluster else 0
    if asked.batch_size is not None and 0 < asked.batch_size < num_workers:
        problems.append(
            f"--batch_size={asked.batch_size} is the size over all workers. TF_CONFIG "
            f"names {num_workers} workers, and each needs an image. Raise --batch_size "
            "or name fewer workers."
        )
    return problems


def one_process_only(command, request):
    """Refuses several workers for a command that trains many runs in one process.

    Args:
        command: name of the command.
        request: keywords of `make_config`.

    Returns:
        `(problems, request)`; the request does not contain the refused strategy.
    """
    if request.get("strategy") != "multi_worker":
        return [], request
    message = (
        "--strategy=multi_worker is for bsce_keras.train, which trains one run. "
        f"bsce_keras.{command} trains many runs in one process. Omit it, or use "
        "--strategy=mirrored for all devices of this machine."
    )
    return [message], {**request, "strategy": None}


def _workers(cluster):
    """Returns addresses of the workers, or None if unknown, and the problems."""
    received = f"Received: cluster={_cut(json.dumps(cluster))}"
    if not isinstance(cluster, dict) or "worker" not in cluster:
        return None, [
            f"TF_CONFIG needs a `cluster` with a list `worker`: {_EXAMPLE}. {received}"
        ]
    problems = []
    others = sorted(set(cluster) - {"worker"})
    if others:
        problems.append(
            "TF_CONFIG must name only workers; the first of them is the chief. "
            f"Received: also {listed(others)}. Move these addresses to `worker`."
        )
    workers = cluster["worker"]
    if not (isinstance(workers, list) and workers and all(map(_is_address, workers))):
        return None, [
            *problems,
            "TF_CONFIG needs the address HOST:PORT of every worker, with a port from 1 "
            f"to 65535. {received}",
        ]
    if len(set(workers)) < len(workers):
        problems.append(
            "TF_CONFIG must give every worker a different address; on one machine, use "
            f"different ports. {received}"
        )
    return workers, problems


def _index(task, workers):
    """Returns this worker's index, or None if unknown, and the problems."""
    received = f"Received: task={_cut(json.dumps(task))}"
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        return None, [
            "TF_CONFIG needs a `task` that identifies this worker, "
            f'{{"type": "worker", "index": 0}} for the first one. {received}'
        ]
    problems = []
    if task["type"] != "worker":
        problems.append(f'TF_CONFIG must have a task of type "worker". {received}')
    index = task["index"]
    last = len(workers) - 1 if workers else None
    is_index = type(index) is int and index >= 0
    if not is_index or (last is not None and index > last):
        up_to = "" if last is None else f" to {last}, the last worker"
        problems.append(f"TF_CONFIG needs a task index from 0{up_to}. {received}")
    return index, problems


def _is_address(address):
    if not isinstance(address, str):
        return False
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535
    return bool(host.strip()) and is_port


def _cut(text, most=200):
    return text if len(text) <= most else f"{text[:most]}..."

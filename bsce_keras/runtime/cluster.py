"""TF_CONFIG: which workers share a run, and which of them this process is.

Imports no TensorFlow.
"""

import dataclasses
import json
import os

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed

_EXAMPLE = (
    '{"cluster": {"worker": ["HOST_A:2222", "HOST_B:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Args:
        workers: address of each, `HOST:PORT`.
        index: of this process among them.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self):
        """Whether this worker writes the run folder: the first one does."""
        return self.index == 0


def read_cluster(text=None):
    """The `Cluster` that TF_CONFIG describes.

    Args:
        text: its value; by default that in the environment.

    Raises:
        RequestError: there is none, or it is no description of workers, with every
            problem found.
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
    """What is wrong with TF_CONFIG, where a `Request` asks for several workers."""
    if asked.strategy != "multi_worker":
        return []
    try:
        num_workers = len(read_cluster().workers)
    except RequestError as error:
        return error.problems
    if asked.batch_size is not None and 0 < asked.batch_size < num_workers:
        return [
            f"--batch_size={asked.batch_size} is the size over all workers, and "
            f"TF_CONFIG names {num_workers}, each of which needs an image. Raise it or "
            "name fewer workers."
        ]
    return []


def one_process_only(command, request):
    """Refuses several workers to a command that trains many runs, one after the other.

    Args:
        command: what it is called.
        request: keywords of `make_config`.

    Returns:
        Problems, and the request without what they are about.
    """
    if request.get("strategy") != "multi_worker":
        return [], request
    message = (
        "--strategy=multi_worker is for bsce_keras.train, which trains one run. "
        f"bsce_keras.{command} trains many, in one process. Leave it out, or use "
        "--strategy=mirrored for all devices of this machine."
    )
    return [message], {**request, "strategy": None}


def _workers(cluster):
    """Addresses of the workers, None where they are not known, and the problems."""
    received = f"Received: cluster={_cut(json.dumps(cluster))}"
    if not isinstance(cluster, dict) or "worker" not in cluster:
        return None, [
            f"TF_CONFIG needs a `cluster` with a list `worker`: {_EXAMPLE}. {received}"
        ]
    problems = []
    others = sorted(set(cluster) - {"worker"})
    if others:
        problems.append(
            "TF_CONFIG must name workers alone, the first of which is the chief. "
            f"Received: also {listed(others)}. Put its addresses into `worker`."
        )
    workers = cluster["worker"]
    if not (isinstance(workers, list) and workers and all(map(_is_address, workers))):
        return None, [
            *problems,
            "TF_CONFIG needs the address HOST:PORT of every worker, the port from 1 to "
            f"65535. {received}",
        ]
    if len(set(workers)) < len(workers):
        problems.append(
            "TF_CONFIG must give every worker an address of its own; on one machine "
            f"take different ports. {received}"
        )
    return workers, problems


def _index(task, workers):
    """This worker's index, and the problems."""
    received = f"Received: task={_cut(json.dumps(task))}"
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        return None, [
            "TF_CONFIG needs a `task` that says which worker this one is, "
            f'{{"type": "worker", "index": 0}} for the first. {received}'
        ]
    problems = []
    if task["type"] != "worker":
        problems.append(
            f'TF_CONFIG must give the type "worker" to its task. {received}'
        )
    index = task["index"]
    last = len(workers) - 1 if workers else None
    is_index = type(index) is int and index >= 0
    if not is_index or (last is not None and index > last):
        up_to = "" if last is None else f" to {last}, the last of its workers"
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

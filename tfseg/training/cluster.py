"""TF_CONFIG: which processes train together, and which of them this one is.

https://www.tensorflow.org/guide/distributed_training#TF_CONFIG
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from typing import Any

from tfseg import network
from tfseg.errors import UserError

# These two jobs train; a "ps" or an "evaluator" needs strategies that tfseg does not offer.
_JOBS = ("chief", "worker")
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


# For a worker that does not start, TensorFlow would wait for ever.
START_TIMEOUT_SECONDS = 55


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        addresses: `host:port` of each process; the chief is the first one. Empty if there is no
            TF_CONFIG, and thus one process.
        index: Position of this process among them.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0

    @property
    def num_workers(self) -> int:
        """Number of processes."""
        return max(1, len(self.addresses))


def read_cluster() -> Cluster:
    """Returns what the environment variable TF_CONFIG says, or one process if it is not set.

    Raises:
        UserError: TF_CONFIG is malformed.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return Cluster()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _malformed(f"is not JSON ({error})") from None
    addresses = _read_addresses(config)
    job, index = _read_task(config)
    if job not in addresses:
        raise _malformed(f"has the task type {job!r}, but its cluster has {', '.join(addresses)}")
    if not 0 <= index < len(addresses[job]):
        raise _malformed(
            f"has the task index {index}, but its cluster has {len(addresses[job])} tasks of type "
            f"{job} (indices 0 to {len(addresses[job]) - 1})"
        )
    chiefs, workers = (addresses.get(job, []) for job in _JOBS)
    position = index if job == "chief" else len(chiefs) + index
    return Cluster((*chiefs, *workers), position)


def wait_for_workers(cluster: Cluster, seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Returns when every process of the cluster has called this function.

    Each of them listens at its own address for so long. Whoever has found all others goes on, and
    then TensorFlow listens there in its place.

    Raises:
        UserError: A process does not answer in time, or this one cannot listen at its address.
    """
    own = cluster.addresses[cluster.index]
    missing = [address for address in cluster.addresses if address != own]
    end = time.monotonic() + seconds
    with _listen(own):
        while missing := [each for each in missing if not network.port_answers(each)]:
            if time.monotonic() > end:
                raise UserError(
                    f"{len(missing)} of {cluster.num_workers} workers did not answer within "
                    f"{seconds:g} seconds ({', '.join(missing)}); start the same command on every "
                    "worker of the environment variable TF_CONFIG, and check their addresses"
                )
            time.sleep(0.2)


def _listen(address: str) -> socket.socket:
    port = address.rpartition(":")[2]
    try:
        return socket.create_server(("", int(port)), backlog=1024)
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"this worker cannot listen at {address}, its address in the environment variable "
            f"TF_CONFIG ({error}); choose a free port"
        ) from error


def _read_addresses(config: Any) -> dict[str, list[str]]:
    cluster = config.get("cluster") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        raise _malformed('has no "cluster"')
    for job, addresses in cluster.items():
        if job not in _JOBS:
            raise _malformed(f"has the job {job!r} (allowed: {', '.join(_JOBS)})")
        is_list = isinstance(addresses, list) and addresses
        if not is_list or not all(isinstance(one, str) and ":" in one for one in addresses):
            raise _malformed(f"has no list of host:port for the job {job!r}, but {addresses!r}")
    if len(cluster.get("chief", ("one",))) > 1:
        raise _malformed("has more than one chief")
    return cluster


def _read_task(config: dict[str, Any]) -> tuple[str, int]:
    task = config.get("task")
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise _malformed('has no "task" with a "type" and an "index"')
    try:
        return str(task["type"]), int(task["index"])
    except (TypeError, ValueError):
        raise _malformed(f"has the task index {task['index']!r}, which is no number") from None


def _malformed(what: str) -> UserError:
    return UserError(f"the environment variable TF_CONFIG {what}; it must be like {_EXAMPLE}")

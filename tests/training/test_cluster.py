"""What TF_CONFIG says, and what is wrong with it."""

import concurrent.futures
import json
import socket
import time

import pytest

from tests.hosts import find_closed_url
from tfseg.errors import UserError
from tfseg.training.cluster import Cluster, read_cluster, wait_for_workers

ADDRESSES = ("10.0.0.1:2222", "10.0.0.2:2222")
TWO = {"worker": list(ADDRESSES)}
WITH_CHIEF = {**TWO, "chief": ["a:1"]}


def task(index, kind="worker"):
    return {"type": kind, "index": index}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, Cluster()),
        ({"cluster": TWO, "task": task(1)}, Cluster(ADDRESSES, 1)),
        ({"cluster": TWO, "task": task("1")}, Cluster(ADDRESSES, 1)),
        ({"cluster": WITH_CHIEF, "task": task(0, "chief")}, Cluster(("a:1", *ADDRESSES), 0)),
        ({"cluster": WITH_CHIEF, "task": task(1)}, Cluster(("a:1", *ADDRESSES), 2)),
    ],
    ids=str,
)
def test_the_cluster_lists_its_workers_the_chief_first(monkeypatch, config, expected):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config:
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_cluster() == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[]", 'has no "cluster"'),
        ({"task": task(0)}, 'has no "cluster"'),
        ({"cluster": {}, "task": task(0)}, 'has no "cluster"'),
        ({"cluster": TWO}, 'has no "task"'),
        ({"cluster": TWO, "task": {"type": "worker"}}, 'has no "task" with a "type" and an "ind'),
        ({"cluster": TWO, "task": task(2)}, r"task index 2, .* 2 tasks .* \(indices 0 to 1\)"),
        ({"cluster": TWO, "task": task(-1)}, "task index -1"),
        ({"cluster": TWO, "task": task("first")}, "task index 'first', which is no number"),
        ({"cluster": TWO, "task": task(0, "chief")}, "task type 'chief', but its cluster has work"),
        ({"cluster": {**TWO, "ps": ["a:1"]}, "task": task(0)}, r"job 'ps' \(allowed: chief, work"),
        ({"cluster": {"worker": "a:1"}, "task": task(0)}, "no list of host:port for the job 'work"),
        ({"cluster": {"worker": ["a"]}, "task": task(0)}, "no list of host:port for the job 'work"),
        ({"cluster": {"chief": ["a:1", "b:1"]}, "task": task(0, "chief")}, "more than one chief"),
    ],
    ids=str,
)
def test_a_malformed_tf_config_is_one_clear_line(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(UserError, match=words) as error:
        read_cluster()
    assert "\n" not in str(error.value)
    assert "it must be like {" in str(error.value)


def find_addresses(count):
    return tuple(find_closed_url().removeprefix("http://") for _ in range(count))


def test_one_process_is_one_worker():
    assert Cluster().num_workers == 1


def test_workers_wait_for_each_other():
    addresses, started = find_addresses(3), time.monotonic()

    def join(index):
        time.sleep(0.3 * index)
        wait_for_workers(Cluster(addresses, index))
        # In its place TensorFlow listens here, for those who look for it later.
        with socket.create_server(("", int(addresses[index].rpartition(":")[2]))):
            time.sleep(2)
        return time.monotonic() - started

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        assert min(threads.map(join, range(3))) > 2.6


def test_a_worker_that_does_not_answer_is_named():
    addresses = find_addresses(2)
    words = rf"1 of 2 workers did not answer within 0.5 seconds \({addresses[1]}\).*TF_CONFIG"
    with pytest.raises(UserError, match=words) as error:
        wait_for_workers(Cluster(addresses, 0), seconds=0.5)
    assert "\n" not in str(error.value)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"cannot listen at {address}"):
            wait_for_workers(Cluster((address, "127.0.0.1:1"), 0), seconds=0.5)

"""What TF_CONFIG says, and what is wrong with it."""

import json

import pytest

from tfseg.errors import UserError
from tfseg.training.cluster import Cluster, read_cluster

TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


def task(index, kind="worker"):
    return {"type": kind, "index": index}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, Cluster(1, 0)),
        ({"cluster": TWO, "task": task(1)}, Cluster(2, 1)),
        ({"cluster": TWO, "task": task("1")}, Cluster(2, 1)),
        ({"cluster": {**TWO, "chief": ["a:1"]}, "task": task(0, "chief")}, Cluster(3, 0)),
        ({"cluster": {**TWO, "chief": ["a:1"]}, "task": task(1)}, Cluster(3, 2)),
    ],
)
def test_the_cluster_counts_its_workers(monkeypatch, config, expected):
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

import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants

from tests import hosts
from tfseg import network


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def host(tmp_path):
    host = hosts.Host(tmp_path)
    yield host
    host.close()


def test_any_answer_counts(host):
    assert network.host_answers(f"{host.url}/missing")
    assert {"HEAD /missing HTTP/1.1", "404"} <= set(host.requests)


def test_a_closed_port_and_an_impossible_address_do_not_answer():
    assert not network.host_answers(hosts.find_closed_url())
    assert not network.host_answers("http://")


def test_a_silent_server_does_not_answer(monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        assert not network.host_answers(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - started < 5


def test_the_hub_is_asked_at_its_own_address(host, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", host.url)
    assert network.hub_answers()
    assert host.requests
    monkeypatch.setattr(constants, "ENDPOINT", hosts.find_closed_url())
    assert not network.hub_answers()


def test_offline_mode_asks_nobody(host, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", host.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not network.hub_answers()
    assert not host.requests


def test_the_question_needs_no_tensorflow():
    program = (
        "import sys; from tfseg import network; network.host_answers('http://'); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

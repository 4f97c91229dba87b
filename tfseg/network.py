"""Whether a server answers.

Downloads retry an unreachable server for a long time: TensorFlow Datasets for over three minutes,
the Hugging Face Hub for 23 seconds, and TensorFlow a TPU for more than two minutes. Asking first
gives the user an answer within seconds.
"""

from __future__ import annotations

TIMEOUT_SECONDS = 5


def host_answers(url: str) -> bool:
    """Returns whether a server answers a request for `url` in time, whatever its answer is."""
    import requests

    try:
        requests.head(url, timeout=TIMEOUT_SECONDS)
    except requests.RequestException:
        return False
    return True


def port_answers(address: str) -> bool:
    """Returns whether a server accepts connections in time.

    Args:
        address: `HOST:PORT` or `grpc://HOST:PORT`.
    """
    import socket

    host, _, port = address.removeprefix("grpc://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def hub_answers() -> bool:
    """Returns whether the Hugging Face Hub (or the mirror in HF_ENDPOINT) answers in time.

    With HF_HUB_OFFLINE=1 the answer is False, and no request is sent.
    """
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and host_answers(constants.ENDPOINT)

"""What a failed request to the Hub means, in one line that never holds the token."""

from __future__ import annotations

import contextlib
import email.utils
import os
import time
from collections.abc import Iterator

import huggingface_hub
import requests
from huggingface_hub import constants

from tfseg.errors import UserError

_DEAD = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.JSONDecodeError,  # a page of a server in between
)
_BUSY = (429, 500, 502, 503, 504)
_DEFAULT_WAIT_SECONDS = 5
_MAX_WAIT_SECONDS = 300
_MAX_LENGTH = 300


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later: no answer, or a server that is busy."""
    cause = _cause(error)
    return isinstance(cause, _DEAD) or _status(cause) in _BUSY


def seconds_to_wait(error: BaseException) -> float:
    """Returns how long to wait before a request that may succeed later, at most 5 minutes.

    `Retry-After` counts, as seconds or as a date: RFC 9110, section 10.2.3.
    """
    response = getattr(_cause(error), "response", None)
    text = "" if response is None else response.headers.get("Retry-After", "")
    if text.isdigit():
        seconds = float(text)
    elif date := email.utils.parsedate_tz(text):
        seconds = email.utils.mktime_tz(date) - time.time()
    else:
        seconds = _DEFAULT_WAIT_SECONDS
    return min(max(seconds, 0.0), _MAX_WAIT_SECONDS)


@contextlib.contextmanager
def as_user_errors(repo_id: str) -> Iterator[None]:
    """Turns every error of a request into a UserError of one line.

    A traceback does not show the original error, whose text may hold the token.
    """
    try:
        yield
    except Exception as error:
        raise UserError(describe(error, repo_id)) from None


def describe(error: BaseException, repo_id: str) -> str:
    """Returns what failed and what repairs it, in one line without the token.

    Args:
        error: From a call of huggingface_hub.
        repo_id: The repository that the call was about.
    """
    if isinstance(error, UserError):
        return str(error)
    cause = _cause(error)
    if isinstance(cause, _DEAD):
        return f"the Hub at {_endpoint()} does not answer ({type(cause).__name__})"
    status = _status(cause)
    known = {
        401: f"the Hub does not accept the token of {_token_source()} (401): it is wrong or has "
        "expired; log in again with `hf auth login`, or renew HF_TOKEN",
        403: f"the token of {_token_source()} may not write to {repo_id} (403); use a token with "
        "the permission to write, or another --hub_model_id",
        429: "the Hub limits how many requests an account sends (429); it asks to wait "
        f"{seconds_to_wait(error):.0f} seconds",
    }
    if status in known:
        return known[status]
    said = cause if status is None else f"{status} {_server_message(cause)}"
    around = "" if cause is error else f"{error} "
    return _without_token(f"{around}{type(cause).__name__}: {said}")


def _cause(error: BaseException) -> BaseException:
    """Returns the error that came first; huggingface_hub wraps it when a large file fails.

    Of a request it is the one that holds the words of the server.
    """
    while not isinstance(error, requests.RequestException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else response.status_code


def _server_message(error: BaseException) -> str:
    """Returns what the server says about a refusal; the text of the error itself holds the URL.

    The URL of a large file is signed, so whoever reads it could upload in the user's name.
    """
    return getattr(error, "server_message", None) or error.response.reason


def _without_token(text: str) -> str:
    token = huggingface_hub.get_token()
    if token:
        text = text.replace(token, "<token>")
    return " ".join(text.split())[:_MAX_LENGTH]


def _token_source() -> str:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            return name
    return "`hf auth login`"


def _endpoint() -> str:
    return constants.ENDPOINT

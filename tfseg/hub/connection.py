"""The connection to the Hub: with a time limit for each answer, and patience where it is busy."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import huggingface_hub
import requests
from huggingface_hub import constants, utils

from tfseg.errors import UserError
from tfseg.hub import failures

_logger = logging.getLogger(__name__)

# huggingface_hub waits for an answer without end. A commit takes the Hub a few seconds.
ANSWER_SECONDS = 60
_NUM_ATTEMPTS = 3

Result = TypeVar("Result")


class _LimitedAdapter(requests.adapters.HTTPAdapter):
    """Ends a request whose server sends nothing for `ANSWER_SECONDS`.

    What does not go through `requests` has no such limit: the transfer of large files by hf_xet. A
    training does not wait for it without end, see `background.LAST_UPLOAD_SECONDS`.
    """

    def send(self, request, *args, timeout=None, **keywords):
        return super().send(request, *args, timeout=timeout or ANSWER_SECONDS, **keywords)


def open_api() -> huggingface_hub.HfApi:
    """Returns the Hub's API for this thread, with the token of the account that is logged in.

    Raises:
        UserError: There is no token, or huggingface_hub is told to stay offline.
    """
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be uploaded to the Hub; unset it")
    token = huggingface_hub.get_token()
    if token is None:
        raise UserError(
            "no token of the Hugging Face Hub was found: log in with `hf auth login` or set "
            "HF_TOKEN, or upload later with python -m tfseg.push"
        )
    session = utils.get_session()  # huggingface_hub keeps one for each thread
    session.mount("https://", _LimitedAdapter())
    session.mount("http://", _LimitedAdapter())
    return huggingface_hub.HfApi(token=token)


def call_patiently(call: Callable[[], Result]) -> Result:
    """Calls a function again, after the time that the Hub asks for, while the Hub is busy."""
    for _ in range(_NUM_ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            if not failures.is_passing(error):
                raise
            seconds = failures.seconds_to_wait(error)
            _logger.info("the Hub is busy or does not answer; next attempt in %.0f s", seconds)
            time.sleep(seconds)
    return call()


@contextlib.contextmanager
def quiet_library(*, has_bars: bool) -> Iterator[None]:
    """Hides huggingface_hub's warnings, which state the signed URLs of uploads.

    Args:
        has_bars: Whether it may draw progress bars.
    """
    verbosity = utils.logging.get_verbosity()
    hides_bars = not has_bars and not utils.are_progress_bars_disabled()
    # The environment variable has the last word on bars; a call against it prints a warning.
    hides_bars = hides_bars and constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    utils.logging.set_verbosity_error()
    if hides_bars:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if hides_bars:
            utils.enable_progress_bars()

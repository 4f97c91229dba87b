"""Uploads beside a training, which they never hold up and never end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from etils import epath

from tfseg import files
from tfseg.hub import failures, repository, snapshot
from tfseg.hub.repository import Repository

_logger = logging.getLogger(__name__)

LAST_UPLOAD_SECONDS = 600


class _Job(NamedTuple):
    folder: Path
    message: str


class Uploads:
    """Uploads the best weights of a run in a thread, one state at a time.

    While one upload runs, the newest state waits and replaces an older one that waits. A failure is
    a warning. As a context manager it waits for the last upload at the end, for a limited time.

    Args:
        best: The folder of the best weights.
        target: Where they are uploaded to.
        repair: The command that uploads them later, for the warnings.
    """

    def __init__(self, best: epath.PathLike, target: Repository, repair: str):
        self._best = epath.Path(best)
        self._target = target
        self._repair = repair
        self._lock = threading.Lock()
        self._waiting: _Job | None = None
        self._running: _Job | None = None
        self._is_given_up = False
        self._idle = threading.Event()
        self._idle.set()

    def submit(self, message: str, make_card: Callable[[], str] | None = None) -> None:
        """Has the folder uploaded as it is now, and returns at once.

        Args:
            message: The title of the commit.
            make_card: Returns the model card of this state; by default the folder holds it.
        """
        folder = None
        try:
            folder = snapshot.take(self._best)
            if make_card is not None:
                files.write_atomically(folder / "README.md", make_card())
            self._enqueue(_Job(folder, message))
        except Exception as error:
            if folder is not None:
                snapshot.discard(folder)
            self._warn(error)

    def finish(self, seconds: float) -> None:
        """Waits for the uploads, and gives up those that are not done in time.

        Args:
            seconds: How long to wait at most.
        """
        if not self._idle.is_set() and seconds:
            _logger.info(
                "waiting up to %.0f minutes for the upload to %s", seconds / 60, self._target.url
            )
        if self._idle.wait(seconds):
            return
        with self._lock:
            self._is_given_up = True
            jobs = [job for job in (self._running, self._waiting) if job is not None]
        for job in jobs:
            snapshot.discard(job.folder)
        _logger.warning(
            "the upload to %s is not done and is given up; upload with: %s",
            self._target.url,
            self._repair,
        )

    def __enter__(self) -> Uploads:
        """Returns itself."""
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        """Waits for the last upload; after an error it gives up what is not done."""
        self.finish(LAST_UPLOAD_SECONDS if error_type is None else 0)

    def _enqueue(self, job: _Job) -> None:
        with self._lock:
            replaced, self._waiting = self._waiting, job
            if self._running is None:
                self._start_next()
        if replaced is not None:
            snapshot.discard(replaced.folder)

    def _start_next(self) -> None:
        """Starts the waiting job, if any; the lock is held."""
        self._running, self._waiting = self._waiting, None
        if self._running is None or self._is_given_up:
            self._idle.set()
            return
        self._idle.clear()
        # A daemon, so that a connection that hangs does not keep the program from ending.
        job = (self._running,)
        threading.Thread(target=self._run, args=job, name="tfseg upload", daemon=True).start()

    def _run(self, job: _Job) -> None:
        try:
            done = repository.upload(job.folder, self._target, job.message)
        except Exception as error:
            self._warn(error)
        else:
            _logger.info("uploaded to %s: %s", done.url, job.message)
        finally:
            snapshot.discard(job.folder)
            with self._lock:
                self._start_next()

    def _warn(self, error: Exception) -> None:
        if not self._is_given_up:
            _logger.warning(
                "the upload to %s failed, which leaves the training as it is: %s; upload with: %s",
                self._target.url,
                failures.describe(error, self._target.repo_id),
                self._repair,
            )

"""Long work in background threads, which the page asks after and can stop.

Progress is a version counter: the page asks what it is now and draws when the number has changed.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from studio.errors import NotFound, StudioError
from studio.options import to_json

State = Literal["running", "done", "failed", "cancelled"]
_KEPT = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What the page sees of a job. `done` of `total` counts pieces of the present stage; a total of 0 is unknown."""

    version: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    state: State = "running"
    result: Any = None
    error: str = ""
    hint: str = ""


class JobCancelled(Exception):
    """Raised by `Job.stop_if_cancelled` to leave the work."""


class Job:
    """One piece of work, as seen by the function that does it. All methods may be called from any thread."""

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self._lock = threading.Lock()
        self._status = JobStatus()
        self._stop = threading.Event()

    def stage(self, stage: str, message: str = "", total: int = 0) -> None:
        """Begin the next stage: a short name, and the sentence to show."""
        self._change(stage=stage, message=message, done=0, total=total)

    def progress(self, done: int, total: int) -> None:
        """How far the present stage is."""
        self._change(done=done, total=total)

    def say(self, message: str) -> None:
        """The sentence to show."""
        self._change(message=message)

    def cancelled(self) -> bool:
        """True once somebody wants it to stop."""
        return self._stop.is_set()

    def stop_if_cancelled(self) -> None:
        """Raise JobCancelled once somebody wants it to stop."""
        if self.cancelled():
            raise JobCancelled

    def status(self) -> JobStatus:
        """How it stands now."""
        with self._lock:
            return self._status

    def cancel(self) -> None:
        """Ask it to stop."""
        self._stop.set()

    def run(self, work: Callable[[Job], Any]) -> None:
        """Do the work and keep its result, or the sentence that says what went wrong."""
        try:
            result = to_json(work(self))
        except StudioError as error:
            self._end("cancelled" if self.cancelled() else "failed", error=error.message, hint=error.hint)
        except Exception as error:  # the outermost frame of a thread: nobody else would hear of it
            self._end_unforeseen(error)
        else:
            self._end("done", result=result)

    def _end_unforeseen(self, error: Exception) -> None:
        if self.cancelled():
            _log.info("job %s stopped: %r", self.id, error)
            self._end("cancelled")
            return
        _log.error("job %s failed\n%s", self.id, "".join(traceback.format_exception(error)))
        self._end("failed", error="Something went wrong in the studio.", hint="Try again; the log says more.")

    def _end(self, state: State, *, result: Any = None, error: str = "", hint: str = "") -> None:
        self._change(state=state, result=result, error=error, hint=hint)

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, version=self._status.version + 1, **changes)


class Jobs:
    """All jobs of a studio. The ids cannot be guessed; the last 200 finished jobs are remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._latest: dict[str, str] = {}
        self._starting = threading.Lock()

    def start(self, work: Callable[[Job], Any]) -> str:
        """Run `work(job)` in a thread of its own; returns at once with the id. What it returns must become JSON."""
        job = Job(secrets.token_hex(12))
        thread = threading.Thread(target=job.run, args=(work,), name=f"job-{job.id[:6]}", daemon=True)
        with self._lock:
            self._forget_oldest()
            self._jobs[job.id] = job
            self._threads[job.id] = thread
        thread.start()
        return job.id

    def start_once(self, name: str, work: Callable[[Job], Any]) -> str:
        """Run `work(job)`, unless a job of this name is running; returns its id, or that one's."""
        with self._starting:
            running = self._jobs.get(self._latest.get(name, ""))
            if running is None or running.status().state != "running":
                self._latest[name] = self.start(work)
            return self._latest[name]

    def status(self, job_id: str) -> dict[str, Any]:
        """version, stage, done, total, message, state (running, done, failed, cancelled), result, error, hint.

        Raises:
            NotFound: there is no such job (any more).
        """
        status = self._job(job_id).status()
        return dict(vars(status))

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop; one that has ended stays as it is.

        Raises:
            NotFound: there is no such job (any more).
        """
        self._job(job_id).cancel()

    def wait(self, job_id: str, timeout_seconds: float | None = None) -> dict[str, Any]:
        """Wait until a job has ended (or the time is up), and return its status."""
        self._job(job_id)
        with self._lock:
            thread = self._threads[job_id]
        thread.join(timeout_seconds)
        return self.status(job_id)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Cancel all jobs and wait for them, so long all together; for when the studio closes."""
        with self._lock:
            jobs, threads = list(self._jobs.values()), list(self._threads.values())
        for job in jobs:
            job.cancel()
        deadline = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _job(self, job_id: str) -> Job:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFound("There is no such job any more.", "Start it again.")
        return job

    def _forget_oldest(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.status().state != "running"]
        for job_id in ended[: max(0, len(ended) - _KEPT + 1)]:
            del self._jobs[job_id], self._threads[job_id]

"""Untrusted pictures are opened in child processes: without tokens, with limits of memory and time, and replaceable.

A picture that crashes or hangs its reader costs one child; the picture is refused, and the next child goes on.
"""

from __future__ import annotations

import queue
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from studio import confine
from studio.data.inside import Reply, receive, send
from studio.data.progress import Cancelled
from studio.errors import BadInput

_WALL_SECONDS = 30.0
_START_SECONDS = 60.0
_AHEAD = 8
_PICTURE = ("picture", "Save it anew as PNG or JPEG.")
_FILM = ("film", "Cut it shorter, or save it anew as MP4.")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture to open: what to do with it, and a path, or else a function that fetches its bytes."""

    header: dict[str, Any]
    path: Path | None = None
    fetch: Callable[[], bytes] | None = None


class Glovebox:
    """A few children that open pictures. Use as a context manager; children start when they are needed."""

    def __init__(self, hands: int = 2, *, wall_seconds: float = _WALL_SECONDS, films: bool = False) -> None:
        self._hands: queue.SimpleQueue[_Hand] = queue.SimpleQueue()
        self._all = [_Hand(wall_seconds, _FILM if films else _PICTURE) for _ in range(max(1, hands))]
        for hand in self._all:
            self._hands.put(hand)
        self._threads = ThreadPoolExecutor(max_workers=len(self._all), thread_name_prefix="glovebox")

    def __enter__(self) -> Glovebox:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for hand in self._all:
            hand.close()

    def map(self, requests: Iterable[Request], cancelled: Callable[[], bool]) -> Iterator[Reply | BadInput]:
        """Answers in the order of the requests; a refusal is an answer too.

        Raises:
            Cancelled: as soon as `cancelled()` says so.
        """
        waiting: deque[Future[Reply | BadInput]] = deque()
        for request in requests:
            if cancelled():
                raise Cancelled
            waiting.append(self._threads.submit(self._serve, request))
            if len(waiting) >= _AHEAD * len(self._all):
                yield waiting.popleft().result()
        while waiting:
            if cancelled():
                raise Cancelled
            yield waiting.popleft().result()

    def _serve(self, request: Request) -> Reply | BadInput:
        hand = self._hands.get()
        try:
            return hand.ask(request)
        except BadInput as refusal:
            return refusal
        finally:
            self._hands.put(hand)


class _Hand:
    """One child process, started when first asked and again after a picture has broken it."""

    def __init__(self, wall_seconds: float, words: tuple[str, str]) -> None:
        self._wall_seconds = wall_seconds
        self._thing, self._hint = words
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, request: Request) -> Reply:
        header, payload = dict(request.header), b""
        if request.path is not None:
            header["path"] = str(request.path)
        elif request.fetch is not None:
            payload = request.fetch()
        child = self._started()
        with confine.Alarm(child, self._wall_seconds) as alarm:
            try:
                send(cast(IO[bytes], child.stdin), header, payload)  # type: ignore[arg-type]
                reply, pixels = receive(cast(IO[bytes], child.stdout))  # type: ignore[arg-type]
            except (EOFError, OSError):
                raise self._refusal(child, alarm) from None
        if "refused" in reply:
            raise BadInput(str(reply["refused"]))
        return reply, pixels

    def close(self) -> None:
        if self._child is not None:
            confine.end(self._child)
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = _start()
        return self._child

    def _refusal(self, child: subprocess.Popen[bytes], alarm: confine.Alarm) -> BadInput:
        confine.end(child)
        self._child = None
        if alarm.rang or confine.ran_out_of_time(child.returncode):
            return BadInput(f"This {self._thing} takes far too long to open.", self._hint)
        return BadInput(f"This {self._thing} is damaged in a way that breaks its reader.", self._hint)


def _start() -> subprocess.Popen[bytes]:
    """A child that has said that it is ready."""
    child = confine.start("studio.data.inside")
    try:
        with confine.Alarm(child, _START_SECONDS):
            receive(cast(IO[bytes], child.stdout))  # type: ignore[arg-type]
    except EOFError as error:
        confine.end(child)
        raise RuntimeError(f"the glovebox did not start (exit {child.returncode})") from error
    return child

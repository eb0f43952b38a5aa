"""A real studio in a process of its own, and a real Chromium that fails the test on any console error."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.making import make_model

playwright = pytest.importorskip("playwright.sync_api")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
_CLOSED_STREAM = "AbortError: signal is aborted without reason"
"""What Gradio's own client says now and then when it is told to close its stream of events, and closes it."""
START_SECONDS = 120
PATIENCE_MS = 60_000


class Server:
    """`python -m studio serve` over a home folder; it can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        log = open(self.home.parent / "studio.log", "ab")  # noqa: SIM115  # the process keeps it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "studio", "serve", "--home", str(self.home), "--port", str(self.port), "--no-browser"],
            cwd=Path(__file__).parents[2], stdout=log, stderr=log, env={**os.environ, "GRADIO_IS_E2E_TEST": "1"},
        )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log
            try:
                urllib.request.urlopen(f"{self.url}config", timeout=5)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"the studio did not start:\n{self.log}")

    @property
    def log(self) -> str:
        return (self.home.parent / "studio.log").read_text()

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            code = self.process.wait(30)
            assert code == (-number if number == signal.SIGKILL else 0), self.log

    def restart(self, number: int = signal.SIGTERM) -> None:
        self.end(number)
        self.start()


def _serve(home: Path) -> Iterator[Server]:
    server = Server(home)
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="session")
def player_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three small models: an unconditional one, one with classes, and a DCGAN."""
    home = tmp_path_factory.mktemp("studio") / "home"
    make_model(home / "models" / "tiny-style", "stylegan2", "Tiny style")
    make_model(home / "models" / "tiny-classes", "stylegan2", "Tiny classes", classes=3, channels=4)
    make_model(home / "models" / "tiny-dcgan", "dcgan", "Tiny DCGAN")
    return home


@pytest.fixture(scope="module")
def studio_server(player_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(player_home, home)
    yield from _serve(home)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    """A Chromium for one file of tests: Playwright's event loop, while it runs, lets no other test have one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.fail("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: playwright.Browser, studio_server: Server) -> Iterator[playwright.Page]:
    """The studio's page; the test fails if the console says an error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    playwright.expect.set_options(timeout=PATIENCE_MS)
    complaints: list[str] = []

    def hear(message: Any) -> None:
        if message.type == "error" and _CLOSED_STREAM not in message.text:
            complaints.append(f"{message.text} ({message.location['url']})")

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.complaints = complaints  # type: ignore[attr-defined]
    page.goto(studio_server.url)
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)

"""How long `python -m studio` takes to the first byte of the page, and to a page that can be used.

    python -m benchmarks.startup [--times 3]

The first byte is that of the page a browser gets at the address. Usable: the shelf's cards can be clicked in headless Chromium.
The first start warms the disk's cache and is not counted.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.conftest import FLAGS  # noqa: E402


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_byte(port: int) -> None:
    """Wait for the first byte of the answer to GET /."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n")
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.005)


def start_once(browser: Browser, home: Path) -> tuple[float, float]:
    """Seconds to the first byte, and to the first card of the shelf."""
    port = free_port()
    command = [sys.executable, "-m", "studio", "--home", str(home), "--port", str(port), "--no-browser"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first_byte(port)
        byte_seconds = time.perf_counter() - begun
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator(".model-card .button.primary, #shelf .empty").first.wait_for(timeout=120_000)
        usable_seconds = time.perf_counter() - begun
        page.close()
        return byte_seconds, usable_seconds
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        measured = [start_once(browser, Path(folder)) for _ in range(times + 1)][1:]
        browser.close()
    for name, seconds in zip(("first byte", "usable page"), zip(*measured, strict=True), strict=True):
        print(f"{name:<14}{statistics.median(seconds):6.2f} s   (of {', '.join(f'{s:.2f}' for s in seconds)})")


if __name__ == "__main__":
    main()

"""A doorkeeper: answers the browser at once, and says how far opening is, while Gradio is still being imported.

Standard library only. It stands on the port until `close`, then the real page takes its place.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STAGE_PATH = "/gradio_api/studio/stage"
"""Here the doorkeeper says how far opening is; the page that takes its place has nothing more to say (204)."""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>Latent Studio</title><style>
html{background:#121214;color:#f1f0ed;font:17px system-ui,sans-serif;height:100%}
body{margin:0;height:100%;display:grid;place-content:center;justify-items:center;gap:22px}
i{width:64px;height:64px;border-radius:50%;animation:turn 2.4s linear infinite}
i{background:conic-gradient(from 210deg,#d3f26a,#6ad3f2,#b58cff,#ff8a73,#d3f26a)}
p{margin:0;color:#a09fa9}@keyframes turn{to{transform:rotate(1turn)}}
</style><i></i><strong>Latent Studio</strong><p id="stage" role="status">Opening…</p><script>
async function look() {
  try {
    const answer = await fetch("STAGE_PATH", {cache: "no-store"});
    if (answer.status === 200) document.querySelector("#stage").textContent = await answer.text();
    else return location.reload();
  } catch { /* between the doorkeeper and the page */ }
  setTimeout(look, 200);
}
look();
</script></html>""".replace("STAGE_PATH", STAGE_PATH)


class Door:
    """Stands on (host, port) until the page is ready. Set `stage` to tell the visitor how far it is.

    Raises OSError if the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self.stage = "Opening…"
        door = self

        class Doorkeeper(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self._answer(200, "text/html", _PAGE)
                elif self.path == STAGE_PATH:
                    self._answer(200, "text/plain", door.stage)
                else:
                    self._answer(503, "text/plain", door.stage)

            def do_POST(self) -> None:
                self._answer(503, "text/plain", door.stage)

            def _answer(self, status: int, kind: str, text: str) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                if status == 503:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Doorkeeper)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="door").start()

    def close(self) -> None:
        """Leave the port to the page."""
        self._server.shutdown()
        self._server.server_close()


def first_free(host: str, first: int, most: int = 20) -> Door:
    """A door at the first free port from `first` on. Raises OSError if none of them is free."""
    for port in range(first, first + most):
        try:
            return Door(host, port)
        except OSError:
            continue
    raise OSError(f"ports {first} to {first + most - 1} are taken")

"""Who is at the page. A token stands for one open page; an owner for one person.

On one's own machine there is one owner, whatever the browser. On a public host the browser keeps a secret that it made
itself, and the owner is its hash: whoever has not the secret cannot name the owner, and nothing lists owners.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict

from studio.errors import Forbidden
from studio.services.policy import Policy

LOCAL_OWNER = "me"
_MOST_SESSIONS = 10_000


class Sessions:
    """Tokens of open pages, the newest ten thousand of them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, secret: str) -> str:
        """A new token for the person who keeps `secret` (at least 16 characters on a public host)."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._owners[token] = self.owner_of_secret(secret)
            while len(self._owners) > _MOST_SESSIONS:
                self._owners.popitem(last=False)
        return token

    def owner_of_secret(self, secret: str) -> str:
        """The owner that a browser's secret stands for."""
        if not self._policy.public:
            return LOCAL_OWNER
        if len(secret) < 16:
            raise Forbidden(
                "This browser keeps no secret for its gallery.", "Allow this page to store data and reload it."
            )
        return hashlib.sha256(b"latent-studio owner:" + secret.encode()).hexdigest()[:32]

    def owner(self, token: str) -> str:
        """The owner behind a token. Raises Forbidden for any token that this process did not give."""
        with self._lock:
            if not isinstance(token, str) or token not in self._owners:
                raise Forbidden("This page was opened before the studio was restarted.", "Reload the page.")
            self._owners.move_to_end(token)
            return self._owners[token]

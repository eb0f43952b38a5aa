"""What a visitor may do. On one's own machine: everything. On a public host: play and save."""

from __future__ import annotations

import os
from dataclasses import dataclass

from studio.errors import Forbidden

ACTIONS = {
    "train": "Training is switched off on this public studio.",
    "upload": "Uploading pictures is switched off on this public studio.",
    "shelf": "The shelf of this public studio cannot be changed by visitors.",
    "import": "Visitors of this public studio cannot bring models.",
}
_HINT = "Start your own with `python -m studio`, or ask its owner to set STUDIO_VISITORS_TRAIN=1."


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The owner's rules.

    Attributes:
        public: strangers visit; each has a gallery of their own.
        visitors_train: strangers may upload pictures and train.
        upload_files: most files of one upload.
        upload_bytes: most bytes of one upload.
        import_bytes: most bytes of one model that is brought to the shelf.
        queue_size: most requests that wait.
    """

    public: bool = False
    visitors_train: bool = False
    upload_files: int = 50_000
    upload_bytes: int = 4 << 30
    import_bytes: int = 8 << 30
    queue_size: int = 64

    @classmethod
    def from_environment(cls) -> Policy:
        """Public on a Hugging Face Space (SPACE_ID) or where STUDIO_PUBLIC=1 says so."""
        public = bool(os.environ.get("SPACE_ID")) or os.environ.get("STUDIO_PUBLIC") == "1"
        return cls(
            public=public,
            visitors_train=os.environ.get("STUDIO_VISITORS_TRAIN") == "1",
            upload_files=2_000 if public else 50_000,
            upload_bytes=(500 << 20) if public else (4 << 30),
        )

    def allows(self, action: str) -> bool:
        """Whether a visitor may do `action`, one of ACTIONS. What stands on the shelf is the owner's alone to change."""
        return not self.public or (self.visitors_train and action not in {"shelf", "import"})

    def require(self, action: str) -> None:
        """Raise Forbidden, with the sentence for `action`, unless the owner allows it."""
        if not self.allows(action):
            raise Forbidden(ACTIONS[action], _HINT)

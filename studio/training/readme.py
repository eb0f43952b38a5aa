"""The `README.md` inside a run's folder: what each file is, how to go on, and the settings in words. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from studio.options import options
from studio.training.config import TrainConfig
from studio.words import lasting

FILES = (
    ("config.json", "the settings, in full"),
    ("events.jsonl", "everything that happened, one JSON object a line"),
    ("previews/", "sheets of pictures of the same seeds, named by the step"),
    ("snapshots/", "playable stages of the model, a model folder each, named by the step"),
    ("best.json", "the snapshot with the best scores so far"),
    (
        "checkpoints/",
        "all that going on needs: the two newest, and the newest that proved healthy (named in `healthy`)",
    ),
    ("log.txt", "what the program wrote while it worked; of interest only after a failure"),
    ("wish, heal", "what the page asked for and the trainer has not done yet"),
    ("lock, heartbeat", "by which the studio knows that the trainer lives"),
)


def text(root: Path, config: TrainConfig, state: str) -> str:
    """The page about the run in `root`; `state` is one sentence about how far it is."""
    files = "\n".join(f"- `{name}`: {what}" for name, what in FILES)
    return (
        f"# {config.title}\n\nA training run of Latent Studio. {state}\n\n"
        f"It makes a {config.family} model from the pictures in `{Path(config.dataset).name}`"
        f"{f', starting from `{Path(config.base_model).name}`' if config.base_model else ''}, "
        f"in {lasting(config.minutes)} at most.\n\n"
        "## What is here\n\n"
        f"{files}\n\n"
        "## How to go on\n\n"
        "Open the studio and resume the run, or train it without the page:\n\n"
        f"    python -m studio.training {root.name}\n\n"
        "It goes on from the newest checkpoint with the very numbers that it would have computed. "
        "Any snapshot can be copied to the studio's `models` folder and played.\n\n"
        f"## Settings\n\n{_settings(config)}\n"
    )


def _settings(config: TrainConfig) -> str:
    """Each described setting with its value and its sentence, then those of the networks."""
    lines = [
        f"- {option.label}: **{_shown(getattr(config, option.name))}** {option.unit}".rstrip() + f". {option.help}"
        for option in options(TrainConfig)
        if option.help
    ]
    networks = [f"- Networks, {name}: **{_shown(value)}**" for name, value in config.settings.items()]
    return "\n".join([*lines, *networks])


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

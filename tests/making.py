"""Small things that many tests need: pictures that a script draws, and models of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ("#e4572e", "#17bebb", "#ffc914", "#2e282a", "#76b041", "#9b5de5")


def draw_shapes(folder: Path, count: int = 36, side_px: int = 40) -> Path:
    """Fill `folder` with two sub-folders of drawn discs and squares, `count` pictures together. Returns it."""
    for index in range(count):
        kind = ("discs", "squares")[index % 2]
        picture = Image.new("RGB", (side_px, side_px), "#f6f1e7")
        inset = 4 + index % 9
        box = (inset, inset, side_px - inset, side_px - 3 - index % 7)
        draw = ImageDraw.Draw(picture)
        (draw.ellipse if kind == "discs" else draw.rectangle)(box, fill=COLOURS[index % len(COLOURS)])
        draw.line((0, index, side_px, side_px - index), fill="#2e282a")
        place = folder / kind / f"{index:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place)
    return folder


SETTINGS: dict[str, dict[str, Any]] = {
    "stylegan2": {
        "resolution": 16,
        "channel_base": 256,
        "channel_max": 16,
        "z_dim": 16,
        "w_dim": 16,
        "mapping_layers": 2,
    },
    "stylegan3": {"resolution": 16, "channel_base": 256, "channel_max": 16, "z_dim": 16, "w_dim": 16},
    "r3gan": {"resolution": 16, "z_dim": 16, "widths": (16, 16, 8), "groups": (4, 4, 2), "blocks": (1, 2, 1)},
    "fastgan": {"resolution": 16, "z_dim": 16, "width": 4},
    "lightweight": {"resolution": 16, "z_dim": 16, "channel_base": 512, "channel_max": 32, "attention": (8,)},
    "lucidrains": {"resolution": 16, "z_dim": 16, "mapping_layers": 2, "capacity": 4, "attention": (1,)},
    "dcgan": {"resolution": 16, "z_dim": 16, "width": 8},
    "mlp": {"resolution": 16, "z_dim": 16, "width": 24},
}


def make_model(
    folder: Path, family_name: str = "stylegan2", title: str = "", seed: int = 0, codes: int = 0, **settings: Any
) -> Path:
    """Save a model of random weights as `folder`, the last part of which is its id. Returns it."""
    import torch

    from studio.families.base import family
    from studio.options import to_json
    from studio.weights.card import ModelCard
    from studio.weights.store import save_model

    kind = family(family_name)
    chosen = kind.settings(**{**SETTINGS[family_name], **settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = kind.generator(chosen)
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.2)
            elif name.endswith(".bias") and "affine" not in name:
                parameter.data.normal_(0, 0.3)
            elif family_name == "dcgan" and parameter.ndim == 4:
                parameter.data.mul_(4)  # it begins so small that neighbours can be the same picture
    card = ModelCard(
        id=folder.name, title=title or folder.name, family=family_name, settings=to_json(chosen),
        resolution=chosen.resolution, channels=chosen.channels, classes=tuple(f"kind {i}" for i in range(chosen.classes)),
        files={}, licence="CC0-1.0", author="the tests", trained_on="nothing: random weights", kimg=0.0, origin="a test",
        summary="Random weights.", command="", created="2026-01-01", codes=codes,
    )  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_model(folder, generator, card)
    return folder

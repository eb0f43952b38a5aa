"""A run that nobody trained: its folder with a log, sheets of pictures and stages, as a trainer would have left it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from studio.data.info import DatasetInfo
from studio.data.prepare import PrepareSettings, prepare
from studio.data.scan import scan
from studio.options import to_json
from studio.paths import Home
from studio.training import events
from studio.training.config import TrainConfig
from tests.making import COLOURS, SETTINGS, draw_shapes, make_model

SIDE_PX = 32
ROWS, COLUMNS = 2, 3
SEEDS = tuple(range(ROWS * COLUMNS))
SECONDS_APART = 10.0


def make_dataset(home: Home, name: str = "shapes") -> DatasetInfo:
    """Prepared pictures under `home`, named `name`."""
    drawn = draw_shapes(home.root / "drawn", 12)
    report = scan(drawn).report
    return prepare(report, PrepareSettings(resolution=SIDE_PX), home.datasets / name, "Shapes")


def make_run(
    home: Home,
    run_id: str,
    *,
    title: str = "Moths",
    stages: int = 5,
    scored: bool = True,
    shift: int = 0,
    **settings: Any,
) -> Path:
    """A finished run with `stages` sheets, a playable stage beside every other one, a warning with a remedy, a roll-back
    that the run did itself, and scores if `scored`, of which the middle one is best. Returns its folder."""
    info = home.datasets / "shapes"
    config = TrainConfig(
        title=title,
        dataset=str(info),
        settings=dict(SETTINGS["stylegan2"]),
        created="2026-01-01T00:00:00.000Z",
        **settings,
    )
    folder = home.runs / run_id
    for part in ("previews", "snapshots", "checkpoints"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(to_json(config)))
    told = [event for stage in range(stages) for event in _stage(folder, stage, stages, scored, shift)]
    last = told[-1]
    told.append(events.Finished(step=last.step, kimg=last.kimg, seconds=last.seconds, model="", message="Stopped."))
    lines = (events.to_line(event, 1_700_000_000.0 + place) for place, event in enumerate(told))
    (folder / "events.jsonl").write_bytes(b"".join(lines))
    return folder


def write_wanted(folder: Path) -> None:
    """Take the end away: the run is paused, so that a remedy can still be asked for."""
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    paused = events.to_line(events.Paused(step=500, kimg=5.0, seconds=50.0, reason="asked"), 1_700_001_000.0)
    (folder / "events.jsonl").write_bytes(b"".join([*lines, paused]))
    (folder / "wish").write_text("pause")


def _stage(folder: Path, stage: int, stages: int, scored: bool, shift: int) -> list[events.RunEvent]:
    """What happens around one sheet: figures, the sheet, a stage of the model, scores, and trouble at two of them."""
    at: dict[str, Any] = {"step": 100 * (stage + 1), "kimg": 1.0 * (stage + 1), "seconds": SECONDS_APART * (stage + 1)}
    told: list[events.RunEvent] = []
    if stage == 0:
        told.append(events.Started(resumed=False, total_seconds=60, device="cpu", precision="float32", batch=8,
                                   g_parameters=1, d_parameters=1))  # fmt: skip
    told += [_progress(stage + part / 4, stages, scored) for part in range(1, 4)]
    draw_sheet(folder / "previews" / f"{at['step']:08d}.webp", stage + shift)
    told.append(
        events.Preview(file=f"{at['step']:08d}.webp", seeds=SEEDS, rows=ROWS, columns=COLUMNS, size_px=SIDE_PX, **at)
    )
    if stage % 2 == 0:
        told += _snapshot(folder, stage, stages, scored, at)
    if stage == 1:
        told.append(events.Warned(topic="divergence", message="The critic wins <i>by far</i>.", hint="It learns too fast.",
                                  remedy="Halve the learning rates", **at))  # fmt: skip
    if stage == 3:
        told.append(events.Warned(topic="rollback", message="A number was not finite.", did="The run went back to step 300.",
                                  **at))  # fmt: skip
    return told


def _snapshot(folder: Path, stage: int, stages: int, scored: bool, at: dict[str, Any]) -> list[events.RunEvent]:
    name = f"{at['step']:08d}"
    make_model(folder / "snapshots" / name, title="Moths", seed=stage)
    told: list[events.RunEvent] = [events.Snapshot(name=name, **at)]
    if scored:
        middle = 2 * (stages // 4)
        told.append(
            events.Scored(
                kid=0.02 + 0.01 * abs(stage - middle),
                precision=0.6,
                recall=min(0.9, 0.1 * stage),
                coverage=0.5,
                diversity=0.8,
                copied=min(0.9, 0.15 * stage),
                nearest=tuple(seed % 12 for seed in SEEDS),
                distances=tuple(1.3 - 0.2 * seed for seed in SEEDS),
                snapshot=name,
                best=stage <= middle,
                **at,
            )
        )
    return told


def _progress(done: float, stages: int, reads_codes: bool) -> events.Progress:
    codes = {"code_error": max(0.1, 1 - 0.2 * done)} if reads_codes else {}
    return events.Progress(
        step=round(100 * done), kimg=done, seconds=SECONDS_APART * done, fraction=min(1.0, done / stages),
        images_per_second=80 + 5 * (done % 3), seconds_left=10.0, memory_bytes=300_000_000,
        metrics=codes | {
            "loss_g": 1.2 - 0.05 * done, "loss_d": 0.8 + 0.03 * done, "sign": 0.09 * done, "augment_p": 0.02 * done,
        },
    )  # fmt: skip


def draw_sheet(path: Path, stage: int) -> None:
    """A sheet of plain cells; each has a square that grows with the stage."""
    sheet = Image.new("RGB", (COLUMNS * SIDE_PX, ROWS * SIDE_PX), "#202024")
    draw = ImageDraw.Draw(sheet)
    for cell in SEEDS:
        left, top = cell % COLUMNS * SIDE_PX, cell // COLUMNS * SIDE_PX
        half = min(SIDE_PX // 2, 2 + 3 * stage)
        middle = (left + SIDE_PX // 2, top + SIDE_PX // 2)
        box = (middle[0] - half, middle[1] - half, middle[0] + half - 1, middle[1] + half - 1)
        draw.rectangle(box, fill=COLOURS[(cell + stage // 8) % len(COLOURS)])
    sheet.save(path, "WEBP", quality=95)

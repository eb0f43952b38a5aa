from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.data import glovebox as module
from studio.data.glovebox import Glovebox, Request
from studio.data.progress import never
from studio.errors import BadInput


def judged(paths: list[Path], box: Glovebox) -> list[object]:
    return list(box.map((Request(header={"task": "judge"}, path=path) for path in paths), never))


def test_answers_come_in_order_and_refusals_are_answers(tmp_path: Path, noise, encoded) -> None:
    paths = []
    for seed in range(30):
        paths.append(tmp_path / f"{seed}.png")
        paths[-1].write_bytes(b"no picture" if seed % 7 == 3 else encoded(noise(seed, 20 + seed, 20)))
    with Glovebox(2) as box:
        answers = judged(paths, box)
    for seed, answer in enumerate(answers):
        if seed % 7 == 3:
            assert isinstance(answer, BadInput)
        else:
            assert answer[0]["width"] == 20 + seed


def test_a_child_that_dies_costs_one_picture(tmp_path: Path, noise, encoded) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(1)))
    with Glovebox(1) as box:
        assert not isinstance(judged([tmp_path / "a.png"], box)[0], BadInput)
        box._all[0]._child.kill()
        refused, good = judged([tmp_path / "a.png"] * 2, box)
    assert isinstance(refused, BadInput) and not isinstance(good, BadInput)


def test_a_picture_that_hangs_is_given_up(tmp_path: Path, noise, encoded) -> None:
    os.mkfifo(tmp_path / "never.png")
    (tmp_path / "a.png").write_bytes(encoded(noise(1)))
    with Glovebox(1, wall_seconds=0.5) as box:
        refused = judged([tmp_path / "never.png"], box)[0]
    assert isinstance(refused, BadInput) and "too long" in refused.message


def test_children_get_no_secrets_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise, encoded) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen: dict[str, str] = {}
    start = module.subprocess.Popen

    def spy(*arguments: object, **options: object) -> object:
        seen.update(options["env"])
        return start(*arguments, **options)

    monkeypatch.setattr(module.subprocess, "Popen", spy)
    (tmp_path / "a.png").write_bytes(encoded(noise(1)))
    with Glovebox(1) as box:
        judged([tmp_path / "a.png"], box)
        child = box._all[0]._child
    assert "PYTHONPATH" in seen and "HF_TOKEN" not in seen and "secret" not in seen.values()
    assert child.returncode is not None

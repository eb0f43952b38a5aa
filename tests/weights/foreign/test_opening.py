from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from studio import confine
from studio.errors import BadInput, Damaged, NotFound
from studio.families.base import family, settings_from
from studio.options import to_json
from studio.weights.foreign import inside, opening
from studio.weights.foreign.contents import Candidate, Contents, Imported
from studio.weights.foreign.opening import Found, build, choices, inspect

WIDTH, LATENT = 4, 6


def dcgan(width: int = WIDTH, latent: int = LATENT) -> nn.Module:
    """The network of pytorch/examples at 64 px, small."""
    widths = [latent, width * 8, width * 4, width * 2, width, 3]
    layers: list[nn.Module] = []
    for index in range(5):
        stride, padding = (2, 1) if index else (1, 0)
        layers.append(nn.ConvTranspose2d(widths[index], widths[index + 1], 4, stride, padding, bias=False))
        if index < 4:
            layers += [nn.BatchNorm2d(widths[index + 1]), nn.ReLU(True)]
    network = nn.Module()
    network.main = nn.Sequential(*layers, nn.Tanh())
    return network


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "netG_epoch_24.pth"
    torch.save(dcgan().state_dict(), path)
    return path


def imported(**changes: Any) -> Imported:
    """An MLP under our own names, as an adapter would answer."""
    settings = {"resolution": 8, "channels": 1, "z_dim": 2}
    network = family("mlp").generator(settings_from("mlp", settings))
    given = {
        "family": "mlp",
        "format": "A test",
        "candidates": (Candidate(title="Likeliest", settings=to_json(network.settings)),),
        "generator": {name: tensor.numpy() for name, tensor in network.state_dict().items()},
    }
    return Imported(**{**given, **changes})


def handled(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: Imported) -> Found:
    """What the studio finds when an adapter answers so, without a child."""
    monkeypatch.setattr(inside, "ADAPTERS", (lambda contents: answer,))
    folder.mkdir()
    (folder / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    facts = inside.answer({"source": str(folder / "x.pkl"), "into": str(folder)})
    monkeypatch.setattr(opening, "_ask", lambda *_: json.loads(json.dumps(facts)))
    return inspect(folder / "x.pkl", folder)


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """`inside.answer` limits its own process; here that is the tests'."""
    monkeypatch.setattr(inside, "limit_memory", lambda *_, **__: None)
    monkeypatch.setattr(inside, "processor_budget", lambda *_: None)


# ------------------------------------------------------------------ from file to network


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_becomes_a_network_with_equal_weights(tmp_path: Path, legacy: bool) -> None:
    network = dcgan()
    path = tmp_path / "netG_epoch_24.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    found = inspect(path, tmp_path / "into")
    assert found.family == "dcgan" and found.file_name == path.name and found.folder == tmp_path / "into"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    generator, discriminator = build(found)
    assert discriminator is None and not generator.training
    wanted = sorted(
        (tuple(tensor.shape), tensor.numpy().tobytes()) for tensor in network.state_dict().values() if tensor.ndim
    )
    assert wanted == sorted((tuple(t.shape), t.numpy().tobytes()) for t in generator.state_dict().values() if t.ndim)
    z = torch.randn(2, LATENT)
    network.eval()
    picture = generator.synthesize(generator.map(z))
    assert torch.allclose(picture, network.main(z[:, :, None, None]), atol=1e-5)


def test_every_candidate_can_be_built(weights: Path, tmp_path: Path) -> None:
    found = inspect(weights, tmp_path / "into")
    for number in range(len(found.candidates)):
        build(found, number)
    for number in (-1, len(found.candidates)):
        with pytest.raises(BadInput):
            build(found, number)


def test_the_best_file_of_a_folder_is_taken(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A model")
    assert inspect(tmp_path, tmp_path.parent / f"{tmp_path.name}-into").file_name == weights.name


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in dcgan().state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    assert inspect(tmp_path / "model.safetensors", tmp_path / "into").family == "dcgan"


def test_the_file_s_name_does_not_matter(weights: Path, tmp_path: Path) -> None:
    os.replace(weights, tmp_path / "model.h5")
    assert inspect(tmp_path / "model.h5", tmp_path / "into").family == "dcgan"


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "content, said",
    [
        (b"<!doctype html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (pickle.dumps({"mystery": np.zeros(3)}), "mystery"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
    ],
)
def test_refusals_say_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "network.pkl").write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        inspect(tmp_path / "network.pkl", tmp_path / "into")
    assert caught.value.hint


@pytest.mark.parametrize("keep", [0, 500])
def test_half_a_download_is_damaged(weights: Path, tmp_path: Path, keep: int) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(Damaged):
        inspect(weights, tmp_path / "into")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = dcgan().state_dict()
    state["main.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(BadInput, match="not numbers"):
        inspect(tmp_path / "x.pth", tmp_path / "into")
    assert not list((tmp_path / "into").iterdir()), "nothing half-written stays"


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        inspect(tmp_path / "nothing.pkl", tmp_path / "into")
    with pytest.raises(BadInput, match="no file of weights"):
        inspect(tmp_path, tmp_path / "into")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "never.pkl")
        with pytest.raises(BadInput, match="ordinary"):
            inspect(tmp_path / "never.pkl", tmp_path / "into")


# ------------------------------------------------------------------ the child


def test_the_child_starts_without_torch() -> None:
    code = "import sys; import studio.weights.foreign.inside; print('torch' in sys.modules)"
    environment = confine.clean_environment()
    answer = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True)
    assert answer.stdout == "False\n", answer.stderr


def test_a_child_that_hangs_is_ended(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs.py").write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(opening, "_CHILD", "hangs")
    monkeypatch.setattr(opening, "wall_seconds", lambda size: 0.2)
    with pytest.raises(BadInput, match="too long"):
        inspect(weights, tmp_path / "into")


def test_a_child_that_dies_is_one_sentence(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos.abort()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(opening, "_CHILD", "dies")
    with caplog.at_level(logging.WARNING), pytest.raises(BadInput, match="breaks its reader"):
        inspect(weights, tmp_path / "into")
    assert "last words" in caplog.text


def test_cancelling_ends_the_child(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(opening, "_CHILD", "slow")
    asked = threading.Event()

    def cancelled() -> bool:
        done = asked.is_set()
        asked.set()
        return done

    with pytest.raises(BadInput, match="cancelled"):
        inspect(weights, tmp_path / "into", cancelled=cancelled)


@pytest.mark.parametrize(
    "words", ["print('no json')", "print('[]')", "print('{}')", 'print(\'{"found": {"family": 1}}\')']
)
def test_an_answer_that_is_none_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    (tmp_path / "lies.py").write_text(f"input()\n{words}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(opening, "_CHILD", "lies")
    with pytest.raises(BadInput):
        inspect(weights, tmp_path / "into")


# ------------------------------------------------------------------ the second stage


@pytest.mark.usefixtures("unlimited")
class TestSecondStage:
    def test_what_fits_is_built(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        answer = imported(
            kimg=float("nan"), arguments={"n": np.float32(2), "bad": object(), "inf": float("inf")}, warnings=("W.",)
        )
        found = handled(monkeypatch, tmp_path / "x", answer)
        assert found.kimg == 0 and found.arguments == {"n": 2.0, "bad": None, "inf": None} and found.warnings == ("W.",)
        generator, _ = build(found)
        for name, tensor in generator.state_dict().items():
            assert np.array_equal(tensor.numpy(), answer.generator[name])

    def test_discriminators_come_along(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        settings = imported().candidates[0].settings
        critic = family("mlp").discriminator(settings_from("mlp", settings))
        arrays = {name: tensor.numpy() for name, tensor in critic.state_dict().items()}
        found = handled(monkeypatch, tmp_path / "x", imported(discriminator=arrays))
        assert found.has_discriminator
        _, built = build(found)
        assert built is not None and all(
            np.array_equal(t.numpy(), arrays[name]) for name, t in built.state_dict().items()
        )

    @pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
    def test_tensors_must_be_the_network_s(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str) -> None:
        arrays = dict(imported().generator)
        name = next(iter(arrays))
        if change == "missing":
            del arrays[name]
        elif change == "unknown":
            arrays["more"] = np.zeros(1, np.float32)
        else:
            arrays[name] = arrays[name].T.copy() if arrays[name].ndim > 1 else arrays[name][:-1]
        found = handled(monkeypatch, tmp_path / "x", imported(generator=arrays))
        with pytest.raises(Damaged):
            build(found)

    @pytest.mark.parametrize("settings", [{"resolution": 10**6}, {"surprise": 1}, {"channels": "3"}])
    def test_settings_must_be_in_range(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        candidates = (Candidate(title="x", settings={**imported().candidates[0].settings, **settings}),)
        found = handled(monkeypatch, tmp_path / "x", imported(candidates=candidates))
        with pytest.raises(BadInput):
            build(found)

    def test_the_family_is_a_name_in_the_table(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no family"):
            build(handled(monkeypatch, tmp_path / "x", imported(family="os.system")))

    @pytest.mark.parametrize(
        "error", [KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError, MemoryError]
    )
    def test_an_adapter_that_stumbles_is_a_refusal(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception]
    ) -> None:
        def stumbling(contents: Contents) -> None:
            raise error("over a file")

        monkeypatch.setattr(inside, "ADAPTERS", (stumbling,))
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({}))
        answer = inside.answer({"source": str(tmp_path / "x.pkl"), "into": str(tmp_path)})
        assert answer["refused"]["kind"] == "BadInput" and answer["refused"]["message"].endswith(".")

    def test_narrower_and_wider_floats_become_float32(self, tmp_path: Path) -> None:
        arrays = {
            "half": np.arange(3, dtype=np.float16), "double": np.arange(6.0).reshape(2, 3).T, "big": np.arange(3, dtype=">f4"),
            "count": np.array(7, np.int32), "none": np.zeros((0, 2), np.float32),
        }  # fmt: skip
        inside.write_safetensors(tmp_path / "x.safetensors", arrays)
        found = safetensors.numpy.load_file(tmp_path / "x.safetensors")
        assert {name: str(array.dtype) for name, array in found.items()} == {
            "half": "float32", "double": "float32", "big": "float32", "count": "int64", "none": "float32",
        }  # fmt: skip
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())

    @pytest.mark.parametrize(
        "array", [np.array([1e300]), np.array([np.inf], np.float32), np.array(["a"]), np.array([1j]), "text"]
    )
    def test_what_float32_cannot_hold_is_refused(self, tmp_path: Path, array: Any) -> None:
        with pytest.raises(BadInput):
            inside.write_safetensors(tmp_path / "x.safetensors", {"a": array})


# ------------------------------------------------------------------ folders


def test_choices_are_ranked(tmp_path: Path) -> None:
    for name in (
        "network-snapshot-000200.pkl", "network-snapshot-001000.pkl", "optimizer.pt", "notes.txt", "netD_epoch_9.pth",
        "old/network-snapshot-005000.pkl", ".hidden/x.pkl", "inception-v3.pkl",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert choices(tmp_path) == (
        "network-snapshot-001000.pkl", "network-snapshot-000200.pkl", "old/network-snapshot-005000.pkl", "netD_epoch_9.pth",
    )  # fmt: skip
    (tmp_path / "g_ema.pt").write_bytes(b"x")
    assert choices(tmp_path)[0] == "g_ema.pt"
    assert choices(tmp_path / "g_ema.pt") == ("g_ema.pt",)
    with pytest.raises(NotFound):
        choices(tmp_path / "missing")


def test_a_file_that_does_not_fit_is_not_sent_to_the_shelf(weights: Path, tmp_path: Path) -> None:
    found = inspect(weights, tmp_path / "into")
    safetensors.numpy.save_file({"a": np.zeros(1, np.float32)}, found.folder / inside.GENERATOR_FILE)
    with pytest.raises(Damaged) as caught:
        build(found)
    assert "shelf" not in caught.value.hint and "Download it again" in caught.value.hint

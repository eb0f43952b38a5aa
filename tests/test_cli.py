"""The command line answers help at once and says plainly what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio import cli
from tests.making import draw_shapes, make_model

COMMANDS = ("serve", "train", "resume", "generate", "interpolate", "film", "models", "import", "dataset")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_neither_torch_nor_gradio(command: str) -> None:
    code = (
        "import sys\nfrom studio.cli import main\n"
        f"try: main({[command, '--help'] if command else ['--help']!r})\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'gradio', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert "usage: python -m studio" in done.stdout


def test_the_networks_of_a_new_run_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    from studio.families.base import FAMILIES, FROM_NOTHING, TRAINED
    from studio.options import options
    from studio.training.config import TrainConfig
    from studio.ui import train

    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert f"{{{','.join(FROM_NOTHING)}}}" in "".join(capsys.readouterr().out.split())
    assert [name for _, name in train.FAMILIES] == ["", *FROM_NOTHING]
    assert next(option for option in options(TrainConfig) if option.name == "family").choices == TRAINED
    assert set(FROM_NOTHING) < set(TRAINED) <= set(FAMILIES)


def test_every_setting_of_a_run_is_listed_under_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--options"]) == 0
    told = capsys.readouterr().out
    assert told.index("\nLearning\n") < told.index("--set objective=") < told.index("\nAveraging\n")


def test_a_port_in_use_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status = cli.main(["serve", "--port", str(taken.getsockname()[1]), "--home", str(tmp_path), "--no-browser"])
    said = capsys.readouterr().err
    assert status == 1
    assert "cannot be used" in said and "--port" in said


def test_listening_to_everyone_without_a_password_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert cli.main(["serve", "--host", "0.0.0.0", "--no-browser"]) == 1
    assert "--auth name:password" in capsys.readouterr().err


def test_models_are_listed_with_the_broken_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_model(tmp_path / "models" / "whole")
    broken = make_model(tmp_path / "models" / "broken")
    (broken / "config.json").write_text("{")
    assert cli.main(["models", "--home", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "stylegan2 16 px" in lines["whole"]
    assert "stylegan2" not in lines["broken"]


def test_pictures_are_made_and_made_again_from_their_recipe(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "tiny")
    first, again = tmp_path / "first", tmp_path / "again"
    assert cli.main(["generate", "tiny", "--seeds", "3-4", "--out", str(first), "--home", str(tmp_path)]) == 0
    picture = first / "tiny-3.png"
    assert cli.main(["generate", "--scene", str(picture), "--out", str(again), "--home", str(tmp_path)]) == 0
    from PIL import Image

    one, other = Image.open(picture), Image.open(again / "tiny-3.png")
    assert one.tobytes() == other.tobytes()
    assert one.tobytes() != Image.open(first / "tiny-4.png").tobytes()


def test_a_walk_becomes_a_film(tmp_path: Path) -> None:
    import av

    make_model(tmp_path / "models" / "tiny")
    out = tmp_path / "walk.mp4"
    arguments = ["--seeds", "1,2", "--seconds", "0.2", "--fps", "10", "--size", "64", "--out", str(out)]
    assert cli.main(["interpolate", "tiny", *arguments, "--home", str(tmp_path)]) == 0
    with av.open(str(out)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 4


def test_a_folder_is_looked_at_and_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shapes(tmp_path / "shapes", 12)
    (tmp_path / "shapes" / "notes.txt").write_text("not a picture")
    home = ["--home", str(tmp_path / "home")]
    assert cli.main(["dataset", str(tmp_path / "shapes"), "--prepare", "resolution=32", *home]) == 0
    said = capsys.readouterr().out
    assert "12 pictures" in said and "notes.txt" in said
    folder = Path(said.splitlines()[-1])
    assert (folder / "pixels.npy").is_file()


def test_what_the_doctor_finds_is_said_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    pictures = draw_shapes(tmp_path / "shapes", 12)
    for shade in range(2):
        Image.new("RGB", (40, 40), f"#{shade + 7}0a0b0").save(pictures / f"blank{shade}.png")
    command, home = ["dataset", str(pictures)], ["--home", str(tmp_path / "home")]

    def count(*mend: str) -> tuple[str, int]:
        assert cli.main([*command, "--prepare", "resolution=32", *home, *mend]) == 0
        said = capsys.readouterr().out
        return said, len(np.load(Path(said.splitlines()[-1]) / "pixels.npy"))

    said, kept = count()
    assert "blank: 2 pictures are blank, or nearly one colour. To mend: leave out 2." in said
    assert "  blank0.png, blank1.png" in said and "--mend blank" in said and kept == 14
    said, kept = count("--mend", "blank", "copies")
    assert "Mended: leave out 2." in said and "--mend blank" not in said and kept == 12
    assert count("--mend", "all")[1] <= 12
    assert cli.main(["train", str(pictures), "--mend", "dust", *home]) == 1
    assert "'dust'" in (wrong := capsys.readouterr().err) and "blank, copies, alike" in wrong
    made = next((tmp_path / "home" / "datasets").iterdir()).name
    assert cli.main(["train", made, "--mend", "all", *home]) == 1
    assert "prepared already" in capsys.readouterr().err


def test_paths_may_be_relative(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_shapes(tmp_path / "shapes", 8)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dataset", "shapes", "--look", "--home", "home"]) == 0
    assert "8 pictures" in capsys.readouterr().out


def test_a_model_is_looked_at_and_brought(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.weights.foreign import making_dcgan

    making_dcgan.write_dcgan(tmp_path / "flowers.pth")
    sheet, home = tmp_path / "sheet.png", ["--home", str(tmp_path / "home")]
    arguments = ["import", str(tmp_path / "flowers.pth"), "--sheet", str(sheet), *home]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().out
    assert "DCGAN, 32 px, flowers.pth" in said and "Choose a reading with --candidate N." in said
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "home" / "models").iterdir())
    before = sheet.read_bytes()
    assert cli.main([*arguments, "--candidate", "99"]) == 1
    assert "no reading 99" in capsys.readouterr().err and sheet.read_bytes() == before
    assert cli.main([*arguments, "--candidate", "1", "--title", "Flowers", "--licence", "MIT"]) == 0
    model = capsys.readouterr().out.splitlines()[-1]
    assert cli.main(["models", *home]) == 0
    assert next(line for line in capsys.readouterr().out.splitlines() if line.startswith(model)).endswith("MIT")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "nothing-here", "--seeds", "1"], "nothing-here"),
        (["generate", "x", "--seeds", "one"], "is not a list of seeds"),
        (["generate", "x", "--seeds", "0-999999999999"], "seeds were asked for"),
        (["serve", "--port", "99999"], "There is no port"),
        (["train"], "needs pictures"),
        (["dataset", "/no/such/folder"], "There is no folder"),
        (["train", "/no/such/folder"], "There is no folder"),
        (["train", "x", "--set", "speed=3"], "There is no setting 'speed'"),
        (["resume", "no-such-run"], "no such run"),
        (["import", ""], "nothing to import"),
        (["import", "no such file.pkl"], "There is no file or folder"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said and len(said.strip().splitlines()) == 2


def test_a_time_is_read_in_words_and_what_is_none_is_refused_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert [cli._time(text) for text in ("5min", "half-hour", "90s", "1.5h", "12 minutes")] == [5, 30, 1.5, 90, 12]
    for wrong in ("nonsense", "5", "-3min"):
        assert cli.main(["train", "/nowhere", f"--time={wrong}"]) == 1
        assert f"{wrong!r} is no length of time." in capsys.readouterr().err

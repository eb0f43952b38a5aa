from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from studio import confine


def run(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a confined child would be: with its environment, in a process of its own."""
    environment = confine.clean_environment() | variables
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "GRADIO_PASSWORD", "HOME", "USER", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret-of-the-artist")
    environment = confine.clean_environment()
    assert not {"HF_TOKEN", "GRADIO_PASSWORD", "HOME", "USER", "SSH_AUTH_SOCK"} & set(environment)
    assert not any("secret-of-the-artist" in value for value in environment.values())


def test_a_child_finds_the_studio(tmp_path: Path) -> None:
    assert run("import studio.confine; print('here')", tmp_path).stdout == "here\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space hold on Linux")
def test_memory_is_limited(tmp_path: Path) -> None:
    code = """
        from studio.confine import limit_memory
        limit_memory(300_000_000)
        try:
            bytearray(400_000_000)
        except MemoryError:
            print("refused")
    """
    assert run(code, tmp_path).stdout == "refused\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_files_are_limited(tmp_path: Path) -> None:
    code = """
        from studio.confine import limit_memory
        limit_memory(2_000_000_000, file_bytes=1000)
        open("small", "wb").write(b"x" * 1000)
        try:
            with open("large", "wb", buffering=0) as file:
                file.write(b"x" * 1000)
                file.write(b"x")
        except OSError:
            print("refused")
    """
    assert run(code, tmp_path).stdout == "refused\n"
    assert (tmp_path / "small").stat().st_size == 1000 and (tmp_path / "large").stat().st_size == 1000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_processor_time_is_limited(tmp_path: Path) -> None:
    code = "from studio.confine import processor_budget\nprocessor_budget(0.1)\nwhile True: pass"
    assert confine.ran_out_of_time(run(code, tmp_path).returncode)
    code = "from studio.confine import processor_budget\nprocessor_budget(0.1)\nprocessor_budget(0)\nsum(range(10**7))"
    assert run(code, tmp_path).returncode == 0


def test_the_alarm_ends_a_child_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hangs.py").write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    child = confine.start("hangs")
    with confine.Alarm(child, 0.2) as alarm:
        assert child.stdout is not None and child.stdout.readline() == b""
        child.wait()
    confine.end(child)
    assert alarm.rang and child.returncode != 0


def test_the_alarm_is_silent_for_a_child_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers.py").write_text("print(input()[::-1])\n")
    monkeypatch.syspath_prepend(tmp_path)
    child = confine.start("answers")
    with confine.Alarm(child, 60) as alarm:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"abc\n")
        child.stdin.flush()
        assert child.stdout.readline().strip() == b"cba"
    confine.end(child)
    assert not alarm.rang


def test_end_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waits.py").write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    child = confine.start("waits")
    confine.end(child)
    assert child.returncode is not None
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)

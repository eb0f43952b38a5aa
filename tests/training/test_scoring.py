"""Scores while a run trains, with a stand-in for the judge."""

import itertools
import json
from types import SimpleNamespace

import pytest
from stand_ins import make_config, make_dataset, make_run

from studio.errors import NotFound
from studio.training import scoring
from studio.training.events import Finished, Scored, Snapshot, Warned
from studio.training.folder import RunFolder
from studio.training.loop import train
from studio.training.record import Record
from studio.training.summary import summarise


@pytest.fixture
def pictures(tmp_path):
    return make_dataset(tmp_path / "pictures")


def judge_by(monkeypatch, kids, copied=0.0):
    """Let the snapshots score these KIDs, one after the other."""
    kids, copied = iter(kids), itertools.repeat(copied) if isinstance(copied, float) else iter(copied)

    class Judge:
        def judge(self, made):
            return SimpleNamespace(
                kid=next(kids), precision=0.5, recall=0.4, density=1.0, coverage=0.3, diversity=0.9,
                copied=next(copied), nearest=tuple(range(len(made))), distances=(1.23456,) * len(made),
            )  # fmt: skip

    monkeypatch.setattr(scoring.Scoring, "_open", lambda self, resolution: Judge())
    monkeypatch.setattr(scoring, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(scoring, "COST_SHARE", 1e9)


def play(tmp_path, pictures, **changes):
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.0, minutes=1.0, snapshot_count=4, **changes))
    seconds = iter(range(10**6))
    return folder, list(train(folder, clock=lambda: float(next(seconds))))


def test_snapshots_are_scored_and_the_best_is_kept(tmp_path, pictures, monkeypatch):
    judge_by(monkeypatch, (0.5, 0.3, 0.1, 0.2, 0.4, 0.6), copied=(0.0, 0.0, 0.9, 0.1, 0.1, 0.1))
    folder, told = play(tmp_path, pictures)
    scored = [event for event in told if isinstance(event, Scored)]
    assert isinstance(told[-1], Finished) and len(scored) >= 4
    assert [event.best for event in scored[:4]] == [True, True, False, True]
    assert len(scored[0].nearest) == len(scored[0].distances) == 4 and scored[0].distances[0] == 1.2346
    snapshots = {event.name for event in told if isinstance(event, Snapshot)}
    assert {event.snapshot for event in scored} <= snapshots
    best = json.loads(folder.best.read_text())
    assert best["snapshot"] == scored[3].snapshot and (folder.snapshots / best["snapshot"]).is_dir()
    summary = summarise("run", folder, folder.read_config(), Record(), "finished")
    assert summary.best == int(best["snapshot"])


def test_the_end_is_always_judged(tmp_path, pictures, monkeypatch):
    judge_by(monkeypatch, (0.5, 0.3, 0.1))
    monkeypatch.setattr(scoring, "COST_SHARE", 1e-9)
    _, told = play(tmp_path, pictures)
    snapshots = [event.name for event in told if isinstance(event, Snapshot)]
    assert [event.snapshot for event in told if isinstance(event, Scored)] == [snapshots[0], snapshots[-1]]
    assert len(snapshots) > 2


def test_copies_are_told_with_a_click(tmp_path, pictures, monkeypatch):
    judge_by(monkeypatch, itertools.repeat(0.5), copied=0.9)
    _, told = play(tmp_path, pictures)
    warned = [event for event in told if isinstance(event, Warned)]
    assert [event.topic for event in warned] == ["copies"] and warned[0].remedy == "End here and keep the model"


def test_without_a_feature_network_the_run_goes_on(tmp_path, pictures, monkeypatch):
    def missing(self, resolution):
        raise NotFound("There is no feature network.", "Get one.")

    judge_by(monkeypatch, ())
    monkeypatch.setattr(scoring.Scoring, "_open", missing)
    folder, told = play(tmp_path, pictures)
    assert [event.topic for event in told if isinstance(event, Warned)] == ["scores"]
    assert isinstance(told[-1], Finished) and folder.read_best() == {}


def test_the_cost_paces_it_and_short_runs_have_none(tmp_path):
    judge = scoring.Scoring(RunFolder(tmp_path), make_config(tmp_path, minutes=5.0), None)
    assert not judge.due(scoring.FIRST_SECONDS - 1) and judge.due(scoring.FIRST_SECONDS)
    judge.took(30.0, 1.5)
    assert not judge.due(79.0) and judge.due(80.0)
    assert not scoring.Scoring(RunFolder(tmp_path), make_config(tmp_path, minutes=0.9), None).due(1e9)
    judge.off()
    assert not judge.due(1e9)


@pytest.mark.parametrize("text", ["", "[]", '{"snapshot": "../x"}', '{"kid": 1}'])
def test_a_garbled_note_of_the_best_is_none(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.best.write_text(text)
    assert folder.read_best() == {}

"""Runs: trainer processes, started, watched and picked up again. The disk is the truth; nothing here needs torch.

A run is *wanted* while its folder holds a wish. One run trains at a time; the others wait in line. A trainer outlives
the studio: at the next start it is adopted by the lock that it holds. What ended without a word is started again from
its newest checkpoint, three times in ten minutes unless it gets further; then the run has failed, and one click tries
again.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio import paths
from studio.errors import BadInput, NotFound, StudioError
from studio.paths import Home, safe_name
from studio.training import lock
from studio.training.config import TrainConfig
from studio.training.events import EventLog, Failed, Finished, RunEvent, read_records
from studio.training.folder import RunFolder
from studio.training.process import Trainer, trainer_command
from studio.training.record import Record
from studio.training.summary import RunSummary, summarise

WATCH_SECONDS = 0.2
RESTARTS = 3
RESTART_WINDOW_SECONDS = 600.0
SAVE_SECONDS = 10.0
LOCKED_CODE = 3


class Runs:
    """All runs below `home.runs`. Every method returns at once; a background thread does the watching.

    Args:
        command: the trainer's command line for a run's folder.
        watch_seconds: how often the trainers are looked at.
    """

    def __init__(
        self,
        home: Home,
        *,
        command: Callable[[Path], Sequence[str]] = trainer_command,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._home = home
        self._command = command
        self._watch_seconds = watch_seconds
        self._lock = threading.RLock()
        self._live: dict[str, Trainer] = {}
        self._queue: list[str] = []
        self._records: dict[str, Record] = {}
        self._configs: dict[str, TrainConfig] = {}
        self._deaths: dict[str, list[float]] = {}
        self._begun_at: dict[str, int] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # What people ask for

    def start(self, config: TrainConfig, title: str = "") -> str:
        """Make a run and put it in line. Returns its id at once; the model will be published under the same id."""
        config = dataclasses.replace(config, title=title or config.title, created=_now())
        run_id = paths.new_id(config.title)
        config = dataclasses.replace(config, publish_to=config.publish_to or str(self._home.models / run_id))
        self._home.runs.mkdir(parents=True, exist_ok=True)
        place = self._home.runs / run_id
        temporary = RunFolder(paths.temporary_beside(place))
        temporary.root.mkdir()
        temporary.write_config(config)
        temporary.write_wish("train")
        paths.put_in_place(temporary.root, place)
        with self._lock:
            self._enqueue(run_id)
        return run_id

    def pause(self, run_id: str) -> None:
        """Save and end the trainer, which frees its memory. A run that waits leaves the line."""
        folder = self._folder(run_id)
        with self._lock:
            if self._state(run_id) in ("finished", "failed"):
                raise BadInput("This run is over and cannot be paused.", "Continue it with more time.")
            folder.write_wish("pause")
            if run_id in self._queue:
                self._queue.remove(run_id)

    def resume(self, run_id: str) -> None:
        """Go on from the newest checkpoint; also what one click does after a failure."""
        folder = self._folder(run_id)
        with self._lock:
            if self._state(run_id) == "finished":
                raise BadInput("This run has used its time.", "Continue it with more time.")
            self._deaths.pop(run_id, None)
            folder.write_wish("train")
            self._enqueue(run_id)

    def stop(self, run_id: str) -> None:
        """End the run early: its model is published as it is. A run that never began just ends."""
        folder = self._folder(run_id)
        with self._lock:
            state = self._state(run_id)
            if state == "finished":
                return
            if run_id not in self._live and not any(folder.checkpoints.glob("*.safetensors")):
                if run_id in self._queue:
                    self._queue.remove(run_id)
                self._tell(run_id, Finished(model="", message="The run was stopped before it had learned anything."))
                folder.write_wish("")
                return
            folder.write_wish("stop")
            self._enqueue(run_id)

    def continue_run(self, run_id: str, minutes: float) -> None:
        """Give a run more time, in minutes. A run that is over goes on from where it ended, early or not; any other keeps what
        it has left."""
        folder = self._folder(run_id)
        with self._lock:
            if run_id in self._live or run_id in self._queue:
                raise BadInput(
                    "This run is training, or waits for its turn.", "Pause it first, or wait until it is done."
                )
            config = folder.read_config()
            used = self._record(run_id).figures.get("seconds", 0.0) / 60
            if self._state(run_id) != "finished":
                used = max(config.minutes, used)
            folder.write_config(dataclasses.replace(config, minutes=used + minutes, kimg=0.0))
            self._configs.pop(run_id, None)
            self._deaths.pop(run_id, None)
            folder.write_wish("train")
            self._enqueue(run_id)

    def heal(self, run_id: str, topic: str) -> None:
        """Carry out the remedy that the newest warning of this topic offers: the trainer does so between two steps.

        A paused run does it when it goes on; one that has failed is resumed.

        Raises:
            NotFound: no such run. BadInput: the run is finished, or the warning offers nothing.
        """
        folder = self._folder(run_id)
        with self._lock:
            state = self._state(run_id)
            if state == "finished":
                raise BadInput("This run is over.", "Start a new one from one of its stages.")
            if not self._record(run_id).remedies.get(topic):
                raise BadInput("There is nothing to mend any more.", "Look at the run's newest message.")
            paths.write_file(folder.heal, topic)
            if state == "failed":
                self.resume(run_id)

    def delete(self, run_id: str) -> None:
        """End the run at once and set its folder aside; `restore` undoes it. The model that it published stays."""
        folder = self._folder(run_id)
        with self._lock:
            if run_id in self._queue:
                self._queue.remove(run_id)
            if trainer := self._live.pop(run_id, None):
                trainer.kill()
            paths.set_aside(folder.root)
            for known in (self._records, self._configs, self._deaths, self._begun_at):
                known.pop(run_id, None)

    def restore(self, run_id: str) -> None:
        """Undo `delete`: the run is there again, paused. Raises NotFound if it is not kept any more."""
        paths.bring_back(self._home.runs / safe_name(run_id))
        if self._state(run_id) not in ("finished", "failed"):
            self._folder(run_id).write_wish("pause")

    # What the page shows

    def summaries(self) -> tuple[RunSummary, ...]:
        """All runs, the newest first. A folder that cannot be read is left out."""
        found = [summary for run_id in self._ids() if (summary := self._summary_or_none(run_id)) is not None]
        return tuple(sorted(found, key=lambda summary: (summary.created, summary.id), reverse=True))

    def summary(self, run_id: str) -> RunSummary:
        """One run. Raises NotFound."""
        folder = self._folder(run_id)
        with self._lock:
            state, record, config = self._state(run_id), self._record(run_id), self._config(run_id)
        return summarise(run_id, folder, config, record, state)

    def at_work(self) -> bool:
        """Whether a run is being trained, or waits for its turn."""
        with self._lock:
            return bool(self._live or self._queue)

    def newest(self) -> str:
        """The id of the run that was made last. Raises NotFound if there is none."""
        if not (found := self.summaries()):
            raise NotFound("There is no run yet.", "Start one.")
        return found[0].id

    def changes(self, run_id: str, since: int = 0) -> tuple[int, list[dict[str, Any]]]:
        """The version to ask from next time, and what happened since version `since` (0: from the start)."""
        folder = self._folder(run_id)
        size = folder.events.stat().st_size if folder.events.exists() else 0
        records, version = read_records(folder.events, since if 0 <= since <= size else 0)
        return version, records

    def config(self, run_id: str) -> TrainConfig:
        """The settings of a run. Raises NotFound."""
        self._folder(run_id)
        with self._lock:
            return self._config(run_id)

    def snapshot_folder(self, run_id: str, step: int | str) -> Path:
        """The model folder of one stage. Raises NotFound."""
        text = str(step)
        folder = self._folder(run_id).snapshots / (f"{int(text):08d}" if text.isascii() and text.isdigit() else "none")
        if not folder.is_dir():
            raise NotFound("There is no such stage of this run.", "Choose one from the run's page.")
        return folder

    def preview_file(self, run_id: str, name: str) -> Path:
        """A sheet of pictures by its file name. Raises NotFound, or BadInput for what is no name."""
        file = self._folder(run_id).previews / safe_name(name)
        if not file.is_file():
            raise NotFound("There is no such sheet of pictures.", "Choose one from the run's page.")
        return file

    # Life and death

    def recover(self) -> None:
        """At the studio's start: adopt trainers that are at work, and put in line every run that is still wanted."""
        paths.sweep(self._home.runs)
        with self._lock:
            for run_id in sorted(self._ids(), key=self._age):
                folder = RunFolder(self._home.runs / run_id)
                if run_id in self._live:
                    continue
                if lock.holder(folder.lock) is not None:
                    self._adopt(run_id)
                elif folder.read_wish() in ("train", "stop"):
                    self._enqueue(run_id)
        self._watch()

    def close(self, graceful: bool = True) -> None:
        """Stop watching. Gracefully: trainers save within ten seconds and end, and go on at the next start."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            trainers, self._live, self._queue = list(self._live.values()), {}, []
        if not graceful:
            return
        for trainer in trainers:
            trainer.terminate()
        deadline = time.monotonic() + SAVE_SECONDS
        for trainer in trainers:
            if not trainer.wait(max(0.0, deadline - time.monotonic())):
                trainer.kill()

    def _watch(self) -> None:
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._watch_on, name="runs", daemon=True)
            self._thread.start()

    def _watch_on(self) -> None:
        while not self._closing.wait(self._watch_seconds):
            with self._lock:
                for run_id, trainer in list(self._live.items()):
                    self._look(run_id, trainer)
                if not self._live and self._queue:
                    self._launch(self._queue.pop(0))

    def _look(self, run_id: str, trainer: Trainer) -> None:
        if trainer.alive():
            if trainer.hangs():
                trainer.kill()
            return
        del self._live[run_id]
        if not trainer.folder.root.is_dir():
            return
        record, wish = self._record(run_id), trainer.folder.read_wish()
        if trainer.code == LOCKED_CODE:
            self._adopt(run_id)
        elif record.phase in ("starting", "training", "interrupted", "new"):
            self._died(run_id)
        elif wish == "train" or (wish == "stop" and record.phase == "paused"):
            self._enqueue(run_id)

    def _died(self, run_id: str) -> None:
        """A trainer ended without a word: again from the newest checkpoint, but not for ever if it gets nowhere."""
        now = time.monotonic()
        if self._record(run_id).saved_step > self._begun_at.get(run_id, 0):
            self._deaths.pop(run_id, None)
        recent = [moment for moment in self._deaths.get(run_id, []) if now - moment < RESTART_WINDOW_SECONDS]
        self._deaths[run_id] = [*recent, now]
        folder = RunFolder(self._home.runs / run_id)
        if len(recent) < RESTARTS:
            self._queue.insert(0, run_id)
            return
        message = "The training stopped four times without saying why."
        self._tell(run_id, Failed(message=message, hint="Resume it; if it fails again, choose a smaller batch."))
        folder.write_wish("")

    def _launch(self, run_id: str) -> None:
        folder = RunFolder(self._home.runs / run_id)
        if not folder.config.is_file():
            return
        record = self._record(run_id)
        record.phase = "starting"
        self._begun_at[run_id] = record.saved_step
        self._live[run_id] = Trainer.launch(folder, self._command(folder.root))

    def _adopt(self, run_id: str) -> None:
        self._live[run_id] = Trainer(RunFolder(self._home.runs / run_id))
        if self._record(run_id).phase != "training":
            self._records[run_id].phase = "starting"

    def _enqueue(self, run_id: str) -> None:
        if run_id not in self._queue and run_id not in self._live:
            self._queue.append(run_id)
        self._watch()

    def _tell(self, run_id: str, event: RunEvent) -> None:
        """Write into the log of a run that nobody trains."""
        figures = self._record(run_id).figures
        stamp = {name: figures[name] for name in ("step", "kimg", "seconds") if name in figures}
        with EventLog(self._home.runs / run_id / "events.jsonl") as log:
            log.append(dataclasses.replace(event, **stamp))

    # Looking things up

    def _ids(self) -> list[str]:
        if not self._home.runs.is_dir():
            return []
        places = [place for place in self._home.runs.iterdir() if not place.name.startswith(".")]
        return [place.name for place in places if (place / "config.json").is_file()]

    def _folder(self, run_id: str) -> RunFolder:
        folder = RunFolder(self._home.runs / safe_name(run_id))
        if not folder.config.is_file():
            raise NotFound("There is no such run.", "It may have been deleted.")
        return folder

    def _record(self, run_id: str) -> Record:
        record = self._records.setdefault(run_id, Record())
        record.read(self._home.runs / run_id / "events.jsonl")
        return record

    def _config(self, run_id: str) -> TrainConfig:
        if run_id not in self._configs:
            self._configs[run_id] = RunFolder(self._home.runs / run_id).read_config()
        return self._configs[run_id]

    def _age(self, run_id: str) -> tuple[str, str]:
        try:
            return self._config(run_id).created, run_id
        except StudioError:
            return "", run_id

    def _summary_or_none(self, run_id: str) -> RunSummary | None:
        try:
            return self.summary(run_id)
        except StudioError:
            return None

    def _state(self, run_id: str) -> str:
        folder = RunFolder(self._home.runs / run_id)
        phase, wish = self._record(run_id).phase, folder.read_wish()
        if run_id in self._live:
            begun = "starting" if phase == "starting" else "training"
            return {"pause": "pausing", "stop": "stopping"}.get(wish, begun)
        if run_id in self._queue:
            return "stopping" if wish == "stop" else "waiting"
        if wish == "pause" or phase == "paused":
            return "paused"
        if phase in ("finished", "failed"):
            return phase
        return "interrupted" if lock.holder(folder.lock) is None else "training"


def _now() -> str:
    moment = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03d}Z"

import pytest

from studio.errors import Damaged
from studio.training import events
from studio.training.record import Record

EXAMPLES = [
    events.Started(
        resumed=True, total_seconds=60.0, device="cpu", precision="float32", batch=4, g_parameters=1, d_parameters=2
    ),
    events.Progress(
        step=3, fraction=0.5, images_per_second=9.0, seconds_left=1.0, memory_bytes=5, metrics={"loss_g": 0.7}
    ),
    events.Preview(file="00000003.webp", seeds=(0, 1), rows=1, columns=2, size_px=8),
    events.Snapshot(name="00000003", kimg=1.5),
    events.Checkpoint(file="00000003.safetensors"),
    events.Warned(topic="space", message="The disk is full.", hint="Free some."),
    events.Paused(reason="asked"),
    events.Finished(model="/models/leaves"),
    events.Failed(message="It broke.", hint="Mend it."),
    events.Scored(
        kid=0.1,
        precision=0.5,
        recall=0.25,
        coverage=0.75,
        diversity=0.9,
        copied=0.0,
        nearest=(3, 1),
        distances=(1.0, 0.5),
        snapshot="00000003",
        best=True,
    ),
]


def test_every_kind_is_tried():
    assert {type(event) for event in EXAMPLES} == set(events.EVENTS.values())


def test_all_events_come_back_equal(tmp_path):
    with events.EventLog(tmp_path / "log") as log:
        for event in EXAMPLES:
            log.append(event)
    records, _ = events.read_records(tmp_path / "log")
    assert [events.from_record(record) for record in records] == EXAMPLES


def test_a_torn_last_line_is_left_by_readers_and_cut_by_the_next_writer(tmp_path):
    log = tmp_path / "log"
    whole = events.to_line(EXAMPLES[0], 1.0)
    log.write_bytes(whole + b'{"event": "prog')
    records, offset = events.read_records(log)
    assert len(records) == 1 and offset == len(whole)
    with events.EventLog(log) as writer:
        writer.append(EXAMPLES[6])
    records, end = events.read_records(log, offset)
    assert [record["event"] for record in records] == ["paused"] and end == log.stat().st_size


def test_garbage_lines_are_passed_over(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\xff\xfe\n[1]\n{}\n" + events.to_line(EXAMPLES[6], 1.0))
    assert [record["event"] for record in events.read_records(log)[0]] == ["paused"]


def test_an_unknown_event_is_refused():
    with pytest.raises(Damaged):
        events.from_record({"event": "exploded"})


def test_the_record_keeps_the_newest_figures(tmp_path):
    with events.EventLog(tmp_path / "log") as log:
        for event in EXAMPLES[:7]:
            log.append(event)
        record = Record()
        record.read(tmp_path / "log")
        assert (record.phase, record.preview, record.message) == ("paused", "00000003.webp", "The disk is full.")
        assert record.figures["metrics"] == {"loss_g": 0.7}
        log.append(EXAMPLES[7])
    record.read(tmp_path / "log")
    assert (record.phase, record.model) == ("finished", "/models/leaves")

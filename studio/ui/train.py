"""Training: pictures in, one dial, and the runs with all that they tell while they learn.

On the left a new run is ordered: `train.js` takes the pictures, Gradio's own controls ask how and how long. On the
right `monitor.js` shows the runs; it asks for `changes` once a second, so a reload or another page loses nothing.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from studio.data.frames import Film
from studio.data.prepare import PrepareSettings
from studio.data.thumbnails import Overview
from studio.errors import BadInput, StudioError
from studio.families import base as networks
from studio.options import Option, from_json, options
from studio.services.studio import Studio
from studio.services.training_desk import CHOICE, Order, Upload
from studio.training.config import TrainConfig
from studio.ui import doctor
from studio.ui.calls import Visitor
from studio.ui.controls import control, described, refusals, values
from studio.ui.mounting import mounted
from studio.words import counted

OTHER = 0
DIAL = (("5 minutes", 5), ("Half an hour", 30), ("An evening", 180), ("A night", 480), ("Other", OTHER))
STUDIOS_CHOICE = ("The studio's choice", CHOICE)
FAMILIES = (
    ("The studio's choice", ""),
    *((f"{network.title}: {network.offer}", name) for name, network in networks.FAMILIES.items() if network.offer),
)
FROM_SCRATCH = ("Nothing: from scratch", "")
_MOST_PROGRESS = 1500
_SETTINGS = {option.name: option for option in options(PrepareSettings)}
_PLAIN = tuple(
    _SETTINGS[name]
    for name in ("resolution", "fit", "colour", "mirror", "classes_from_folders", "kinds", "drop_duplicates")
)
_FINE = tuple(_SETTINGS[name] for name in ("trim_borders", "even_light", "tiles", "background", "sharp_pixels"))
_PREPARE = _PLAIN + _FINE
_ADVANCED = described(TrainConfig, advanced=True, skip=("dataset_fingerprint", "publish_to", "created"))


# ── what the page's JavaScript asks for ──


def run(studio: Studio, visitor: Visitor, id: str) -> dict[str, Any]:
    """What does not change about a run: its classes, and one line about what it learns from."""
    studio.policy.require("train")
    config = studio.runs.config(id)
    return {
        "classes": int(config.settings.get("classes") or 0),
        "sentence": _about(studio, config),
        "minutes": config.minutes,
    }


def changes(studio: Studio, visitor: Visitor, id: str, since: int = 0) -> dict[str, Any]:
    """What happened to a run since version `since`: {"version", "records"}; of very many figures evenly chosen ones."""
    studio.policy.require("train")
    version, records = studio.runs.changes(id, int(since))
    return {"version": version, "records": thinned(records)}


def pause_run(studio: Studio, visitor: Visitor, id: str) -> Sequence[Any]:
    """Save and pause a run. This and the calls below answer all runs, as `status` does."""
    studio.policy.require("train")
    studio.runs.pause(id)
    return studio.runs.summaries()


def resume_run(studio: Studio, visitor: Visitor, id: str) -> Sequence[Any]:
    """Go on with a run that was paused, interrupted or that failed."""
    studio.policy.require("train")
    studio.runs.resume(id)
    return studio.runs.summaries()


def stop_run(studio: Studio, visitor: Visitor, id: str) -> Sequence[Any]:
    """Finish a run now: its model goes to the shelf as it is."""
    studio.policy.require("train")
    studio.runs.stop(id)
    return studio.runs.summaries()


def continue_run(studio: Studio, visitor: Visitor, id: str, minutes: float) -> Sequence[Any]:
    """Give a run more time."""
    studio.policy.require("train")
    checked = _option(TrainConfig, "minutes").check(float(minutes))
    studio.runs.continue_run(id, checked)
    return studio.runs.summaries()


def delete_run(studio: Studio, visitor: Visitor, id: str) -> Sequence[Any]:
    """End a run and set its folder aside; the model that it put on the shelf stays."""
    studio.policy.require("train")
    studio.runs.delete(id)
    return studio.runs.summaries()


def restore_run(studio: Studio, visitor: Visitor, id: str) -> Sequence[Any]:
    """Undo `delete_run`."""
    studio.policy.require("train")
    studio.runs.restore(id)
    return studio.runs.summaries()


def datasets(studio: Studio, visitor: Visitor) -> list[dict[str, Any]]:
    """Pictures that were prepared before, newest first."""
    studio.policy.require("upload")
    shown = ("id", "title", "resolution", "channels", "count", "labels", "counts")
    return [{name: getattr(info, name) for name in shown} for info in studio.datasets.list()]


def delete_dataset(studio: Studio, visitor: Visitor, id: str) -> bool:
    """Delete prepared pictures."""
    studio.policy.require("upload")
    studio.datasets.delete(id)
    return True


def restore_dataset(studio: Studio, visitor: Visitor, id: str) -> bool:
    """Undo `delete_dataset`."""
    studio.policy.require("upload")
    studio.datasets.restore(id)
    return True


def begin_upload(studio: Studio, visitor: Visitor) -> str:
    """The id of a new upload; its files go to the address upload/<id>."""
    studio.policy.require("upload")
    return studio.datasets.begin()


def scan_upload(studio: Studio, visitor: Visitor, upload: str, film: Film | None = None) -> str:
    """Begin to look through an upload; answers the id of the job, whose result is the report."""
    studio.policy.require("upload")
    return studio.datasets.start_scan(upload, film)


def upload_report(studio: Studio, visitor: Visitor, upload: str) -> dict[str, Any] | None:
    """What an upload's last look through found, as `scan_upload` answers it; null before."""
    studio.policy.require("upload")
    return studio.datasets.report(upload)


def draw_upload(studio: Studio, visitor: Visitor, upload: str, settings: PrepareSettings) -> Overview:
    """Draw the overview of an upload as these settings, and what was chosen of it, would have it; what it shows."""
    studio.policy.require("upload")
    return studio.datasets.draw_sheet(upload, settings)


def drop_upload(studio: Studio, visitor: Visitor, upload: str) -> None:
    """Throw an upload away."""
    studio.policy.require("upload")
    studio.datasets.forget_upload(upload)


CALLS = (
    run, changes, pause_run, resume_run, stop_run, continue_run, delete_run, restore_run,
    datasets, delete_dataset, restore_dataset, begin_upload, scan_upload, upload_report, draw_upload,
    drop_upload,
)  # fmt: skip


def thinned(records: Sequence[dict[str, Any]], most: int = _MOST_PROGRESS) -> list[dict[str, Any]]:
    """The records with at most about `most` of the progress among them, evenly chosen, the last one always."""
    progress = [place for place, record in enumerate(records) if record.get("event") == "progress"]
    if len(progress) <= most:
        return list(records)
    step = -(-len(progress) // most)
    kept = set(progress[::-1][::step])
    return [record for place, record in enumerate(records) if place in kept or record.get("event") != "progress"]


def _about(studio: Studio, config: TrainConfig) -> str:
    """One line: which pictures, at what size, from which model."""
    name = config.dataset.replace("\\", "/").rstrip("/").rpartition("/")[2]
    try:
        info = studio.datasets.info(name)
        classes = f" in {counted(len(info.labels), 'class', 'classes')}" if info.labels else ""
        pictures = f"{counted(info.count, 'picture')} of {info.title}{classes}"
    except StudioError:
        pictures = name
    size = config.settings.get("resolution")
    base = config.base_model.replace("\\", "/").rstrip("/").rpartition("/")[2]
    titles = {entry.id: entry.title for entry in studio.shelf.list()} if base else {}
    beginning = f"starting from {titles.get(base, base)}" if base else "from scratch"
    parts = [pictures, f"{size} px" if size else "", beginning]
    return " · ".join(part for part in parts if part)


def _option(kind: type, name: str) -> Option:
    return next(option for option in options(kind) if option.name == name)


# ── the room ──


@dataclass(frozen=True, kw_only=True)
class Form:
    """The components of a new run. `planned` holds the advanced settings of the last plan, `filled` those that the fields
    were last filled with: what differs from them was changed by the artist."""

    pictures: gr.HTML
    doctor: gr.HTML
    how: gr.Column
    prepare: list[Any]
    minutes: gr.Radio
    other: gr.Number
    base: gr.Dropdown
    family: gr.Dropdown
    title: gr.Textbox
    plan: gr.HTML
    planned: gr.JSON
    filled: gr.JSON
    advanced: list[Any]
    start: gr.Button
    problem: gr.HTML
    job: gr.Textbox

    @property
    def order(self) -> list[Any]:
        """The inputs that say what is asked for."""
        return [self.pictures, self.minutes, self.other, self.base, self.family, self.title, *self.prepare]


def build(studio: Studio) -> None:
    """The room, inside its tab."""
    with gr.Row(elem_id="train-columns", elem_classes="closed" if not studio.policy.allows("train") else ""):
        if studio.policy.allows("train"):
            with gr.Column(elem_id="new-run"):
                _wire(studio, _form(studio))
        with gr.Column(elem_id="runs"):
            mounted("monitor")


def _form(studio: Studio) -> Form:
    gr.HTML("<h2>New run</h2>", elem_id="new-run-title", padding=False)
    with gr.Column(elem_classes="train-step"):
        _heading("Pictures")
        pictures = mounted("train")
        card = doctor.build()
    with gr.Column(elem_classes="train-step", elem_id="prepare-step", visible=False) as how:
        _heading("How")
        gr.HTML('<div id="proof"></div>', padding=False)
        prepare: list[Any] = [control(option, prefix="prepare", value=option.default) for option in _PLAIN]
        with gr.Accordion("More", open=False, elem_classes="quiet-accordion"):
            prepare += [control(option, prefix="prepare", value=option.default) for option in _FINE]
    with gr.Column(elem_classes="train-step"):
        _heading("How long")
        minutes = gr.Radio(
            DIAL, value=DIAL[1][1], show_label=False, container=False, elem_id="train-minutes", elem_classes="segmented"
        )
        other = gr.Number(value=60, label="Minutes", elem_id="other-minutes", visible=False)
        base = gr.Dropdown(_bases(studio), value=CHOICE, label="Start from", elem_id="train-base", filterable=False)
        title = gr.Textbox(label="Name", placeholder="named after the pictures", max_length=80, elem_id="train-title")
        plan = gr.HTML(elem_id="train-plan", padding=False)
        with gr.Accordion("Advanced", open=False, elem_id="train-advanced", elem_classes="quiet-accordion"):
            gr.HTML("<p>Filled in by the plan. What you change stays as you set it.</p>")
            as_planned = gr.Button("All as planned", size="sm", elem_id="as-planned")
            family = gr.Dropdown(
                FAMILIES, value=FAMILIES[0][1], label="Network", elem_id="train-family", filterable=False
            )
            advanced = _settings()
        problem = gr.HTML(elem_id="train-problem", padding=False)
        start = gr.Button("Start", variant="primary", interactive=False, elem_id="start-training")
        job, planned, filled = gr.Textbox(visible=False), gr.JSON(visible=False), gr.JSON(visible=False)
    as_planned.click(None, filled, advanced, js="(filled) => filled", show_progress="hidden", api_visibility="private")
    return Form(
        pictures=pictures, doctor=card, how=how, prepare=prepare, minutes=minutes, other=other, base=base, family=family,
        title=title, plan=plan, planned=planned, filled=filled, advanced=advanced, start=start, problem=problem, job=job,
    )  # fmt: skip


def _settings() -> list[Any]:
    """A control for each advanced setting, under their headings."""
    found = []
    for option in _ADVANCED:
        if option.heading:
            gr.HTML(f'<h4 class="settings-heading">{option.heading}</h4>', padding=False)
        found.append(control(option, prefix="advanced"))
    return found


def _heading(text: str) -> None:
    gr.HTML(f'<h3 class="step-heading">{text}</h3>', padding=False)


def _bases(studio: Studio) -> list[tuple[str, str]]:
    """What a run can start from, as (words, id): models of families that the studio can train."""
    good = [(entry.id, entry.card) for entry in studio.shelf.list() if entry.card is not None and not entry.problem]
    return [
        STUDIOS_CHOICE,
        FROM_SCRATCH,
        *((f"{card.title} · {card.resolution} px", name) for name, card in good if card.family in networks.TRAINED),
    ]


def _wire(studio: Studio, form: Form) -> None:
    """What happens when something is chosen, changed or started."""
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def plan(*given: Any) -> list[Any]:
        return show_plan(studio, given)

    def further(event: gr.EventData) -> Any:
        return show_base(studio, event._data)

    def fit(base: str, *given: Any) -> list[Any]:
        return fit_to_base(studio, base, given)

    def begin(*given: Any) -> list[Any]:
        return start(studio, given)

    def review(*given: Any) -> list[Any]:
        return reviewed(studio, given)

    def planned(after: Callable[..., Any]) -> None:
        # not "once", or quick hands, that choose pictures while a plan is under way, are given none
        made = after(plan, form.order, [form.plan, form.start, form.planned], trigger_mode="always_last", **quiet)
        fields = [form.filled, *form.advanced]
        made.then(None, [form.planned, *fields], fields, js=_FILL, **quiet)

    planned(form.pictures.change(show_how, form.pictures, [form.how, form.problem, *form.prepare], **quiet).then)
    doctor.wire(form.doctor, _PREPARE, form.prepare, planned)
    form.pictures.select(further, None, form.base, **quiet)
    form.base.focus(lambda: gr.update(choices=_bases(studio)), None, form.base, **quiet)
    planned(form.base.change(fit, [form.base, *form.prepare], form.prepare, **quiet).then)
    form.minutes.change(lambda chosen: gr.update(visible=chosen == OTHER), form.minutes, form.other, **quiet)
    changes = [
        form.minutes.input,
        form.other.input,
        form.family.input,
        *(component.input for component in form.prepare),
    ]
    planned(partial(gr.on, changes))
    changes += [form.base.input, form.title.input]
    gr.on(changes, None, None, form.problem, js="() => ''", **quiet)  # what was refused is no more what is asked for
    settings = [component.input for component in form.advanced]
    told = [form.plan, form.problem]
    judged = [*told, form.start]
    asked = [*form.order, form.filled, *form.advanced]
    gr.on(settings, review, asked, judged, trigger_mode="always_last", **quiet)
    gr.on([one.change for one in told], None, told, None, js=_MARK, **quiet)
    ordered = form.start.click(begin, asked, [form.job, form.problem, form.title], **quiet)
    ordered.then(None, form.job, None, js=_TELL, **quiet)


_FILL = """(planned, filled, ...fields) => {
    const same = (a, b) => (a ?? "") === (b ?? "");
    return [planned, ...fields.map((value, i) => !planned || same(value, filled?.[i]) ? planned?.[i] ?? null : value)];
}"""
"""Fills the fields in anew with what is planned, except those that the artist has changed since they were filled."""

_MARK = """(...told) => {
    window.dispatchEvent(new CustomEvent("studio-refused", { detail: told.join("") }));
    return [];
}"""
"""Tells `train.js` what was refused, which stands beside its field, too."""

_TELL = '(job) => { if (job) window.dispatchEvent(new CustomEvent("studio-training", { detail: job })); return []; }'
"""Tells the monitor and the dropzone that a run was ordered."""


# ── events ──


def show_how(pictures: Any) -> list[Any]:
    """Pictures were chosen: show how they can be prepared, filled with what suits them."""
    suggestion = (pictures or {}).get("suggestion")
    settings = _readable(suggestion) if suggestion else PrepareSettings()
    return [gr.update(visible=bool(suggestion)), "", *(getattr(settings, option.name) for option in _PREPARE)]


def _readable(suggestion: dict[str, Any]) -> PrepareSettings:
    """Settings as the page kept them through a reload, but for those that nothing can be prepared with."""
    kept = {name: value for name, value in suggestion.items() if name in _SETTINGS and value is not None}
    wrong = {refusal.field for refusal in refusals([_SETTINGS[name] for name in kept], list(kept.values()))}
    return from_json(PrepareSettings, {name: value for name, value in kept.items() if name not in wrong})


def show_base(studio: Studio, data: Any) -> Any:
    """{"base": id}: "Train it further" was clicked; start from that model. An empty id only reads the shelf again."""
    base = str(data.get("base", "")) if isinstance(data, dict) else ""
    known = _bases(studio)
    chosen = base if base in {id for _, id in known} else ""
    return gr.update(choices=known, value=chosen) if base else gr.update(choices=known)


def fit_to_base(studio: Studio, base: str, given: Sequence[Any]) -> list[Any]:
    """A model was chosen to start from: its size, colours and classes are those of the pictures, too."""
    try:
        settings = studio.desk.fit_to(from_json(PrepareSettings, values(_PREPARE, given)), base or "")
    except StudioError:  # the plan says it
        return [gr.skip() for _ in _PREPARE]
    return [getattr(settings, option.name) for option in _PREPARE]


def show_plan(studio: Studio, given: Sequence[Any]) -> list[Any]:
    """The plan's reasons, whether it can start, and every advanced setting as planned; without pictures none."""
    if not given[0]:
        return ["", gr.update(interactive=False), None]
    try:
        plan = studio.desk.plan(read_order(given))
    except StudioError as error:
        return [_problem(error), gr.update(interactive=False), gr.skip()]
    return [_listed(plan.reasons), gr.update(interactive=True), [getattr(plan.config, o.name) for o in _ADVANCED]]


def reviewed(studio: Studio, given: Sequence[Any]) -> list[Any]:
    """An advanced setting was changed: the reasons of the plan with it, why it cannot be, if so, and whether it can start."""
    if not given[0]:
        return ["", "", gr.skip()]
    if wrong := _wrong_settings(given):
        return [gr.skip(), wrong, gr.update(interactive=False)]
    try:
        return [_listed(studio.desk.plan(_order_with_changes(given)).reasons), "", gr.update(interactive=True)]
    except StudioError as error:
        return [gr.skip(), _problem(error), gr.update(interactive=False)]


def start(studio: Studio, given: Sequence[Any]) -> list[Any]:
    """Begin; the id of the job, or a sentence that says why not."""
    try:
        studio.policy.require("train")
        studio.sessions.owner((given[0] or {}).get("token", ""))
        if wrong := _wrong_settings(given):
            return ["", wrong, gr.skip()]
        return [studio.desk.start(_order_with_changes(given)), "", ""]
    except StudioError as error:
        return ["", _problem(error), gr.skip()]


def _wrong_settings(given: Sequence[Any]) -> str:
    """All that is wrong with the advanced settings, for the page; "" if nothing is."""
    return "".join(_problem(refusal) for refusal in refusals(_ADVANCED, given[-len(_ADVANCED) :]))


def _order_with_changes(given: Sequence[Any]) -> Order:
    """The order, then what the advanced settings were filled with (None: nothing yet), and what they are now.

    Raises:
        BadInput: as `read_order`.
    """
    *order, filled = given[: -len(_ADVANCED)]
    now, before = (values(_ADVANCED, held) for held in (given[-len(_ADVANCED) :], filled or [None] * len(_ADVANCED)))
    changed = {name: value for name, value in now.items() if value != before.get(name)}
    return replace(read_order(order), changes=changed)


def _listed(reasons: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(reason)}</li>' for reason in reasons)}</ul>"


def read_order(given: Sequence[Any]) -> Order:
    """The order that a form's values make: pictures, dial, other minutes, base, network, title, then the settings of preparing.

    Raises:
        BadInput: no pictures, or a value out of its range.
    """
    pictures, dial, other, base, family, title, *prepare = given
    if dial == OTHER and other is None:
        raise BadInput(
            "It is not said how long it may take.", "Write a number of minutes, such as 60.", field="minutes"
        )
    minutes = other if dial == OTHER else dial
    return Order(
        pictures=read_pictures(pictures),
        minutes=_option(TrainConfig, "minutes").check(float(minutes)),
        base=base or "",
        family=_option(TrainConfig, "family").check(family) if family else "",
        title=(title or "").strip(),
        prepare=from_json(PrepareSettings, values(_PREPARE, prepare)),
    )


def read_pictures(value: Any) -> Upload | str:
    """What `train.js` says was chosen: {"dataset"} or {"upload", …}."""
    if not isinstance(value, dict) or not (value.get("dataset") or value.get("upload")):
        raise BadInput("No pictures are chosen yet.", "Drop some above, or take some that you prepared before.")
    if value.get("dataset"):
        return str(value["dataset"])
    return from_json(Upload, value["upload"])


def _problem(error: StudioError) -> str:
    hint = f"<span>{html.escape(error.hint)}</span>" if error.hint else ""
    field = f' data-field="{_element_of(error.field)}"' if isinstance(error, BadInput) and error.field else ""
    return f'<p class="problem" role="alert"{field}><b>{html.escape(error.message)}</b> {hint}</p>'


def _element_of(field: str) -> str:
    """The element id of a field of the form."""
    if field == "minutes":
        return "other-minutes"
    return f"prepare-{field}" if any(option.name == field for option in _PREPARE) else f"advanced-{field}"

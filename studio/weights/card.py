"""What a model folder says about itself: `config.json` for programs, `README.md` for people and the Hub.

Nothing here needs torch, so that the page can show the shelf before anything heavy is loaded.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import BadInput, Damaged, NotFound
from studio.options import from_json, to_json
from studio.paths import safe_name, slug, write_file

CONFIG_FILE = "config.json"
README_FILE = "README.md"
WEIGHTS_FILE = "model.safetensors"
DISCRIMINATOR_FILE = "discriminator.safetensors"
PREVIEW_FILE = "preview.webp"
INHERITED_FILE = "inherited.safetensors"
"""Directions of the models that a model comes from; no part of it, and made again where it is missing."""
TRAITS_FILE = "traits.safetensors"
DIRECTIONS_FILE = "directions.safetensors"
"""A shipped model's own directions, those with names and the others; of other models the cache keeps them."""

_HASHED_FILES = (WEIGHTS_FILE, DISCRIMINATOR_FILE, PREVIEW_FILE)
_CONFIG_BYTES = 1_000_000
_TEXT_CHARACTERS = 20_000
_MOST_SOURCES = 12
MOST_ANCESTORS = 32
MOST_CODES = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:$=^])")
_HUB_LICENCES = frozenset(
    {"apache-2.0", "mit", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0"}
    | {"cc-by-nc-sa-4.0", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "openrail", "unlicense", "unknown"}
)


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A model that another one was trained from: its id on the shelf, its title and the checksum of its weights then."""

    id: str
    title: str
    sha256: str = ""

    def __post_init__(self) -> None:
        safe_name(self.id)
        if len(self.title) > _TEXT_CHARACTERS or (self.sha256 and not _SHA256.fullmatch(self.sha256)):
            raise BadInput("The model's lineage cannot be read.", "Import or train the model again.")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model of the shelf.

    Attributes:
        id: the name of its folder on the shelf.
        family: its architecture, a name in the table of families.
        settings: that family's own settings, as JSON.
        resolution: width and height of its pictures in pixels.
        channels: 1 grey, 3 colour, 4 colour with transparency.
        classes: the names of its classes; empty if it has none.
        files: the sha256 of each file in the folder that the model needs.
        kimg: thousands of real pictures that training has shown.
        origin: where it came from: trained here, shipped, or imported from which file.
        lineage: the models that it was trained from, the nearest first.
        codes: how many first coordinates of z it was taught to show (InfoGAN); each is a direction of the model.
        source: of an imported model, what names its source: "file", "sha256", "format", the original "arguments" as
            JSON, and of one from the Hugging Face Hub "hub" and "revision".
        command: the command that trains it again.
        created: date and time as ISO 8601 in UTC.
    """

    id: str
    title: str
    family: str
    settings: dict[str, Any]
    resolution: int
    channels: int = 3
    classes: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    author: str = ""
    trained_on: str = ""
    kimg: float = 0.0
    origin: str = ""
    summary: str = ""
    weaknesses: str = ""
    command: str = ""
    created: str = ""
    source: dict[str, str] = field(default_factory=dict)
    lineage: tuple[Ancestor, ...] = ()
    codes: int = 0

    def __post_init__(self) -> None:
        safe_name(self.id)
        texts = (self.title, self.family, self.licence, self.author, self.trained_on, self.origin, self.summary)
        others = (self.weaknesses, self.command, self.created, *self.source, *self.source.values())
        if any(len(text) > _TEXT_CHARACTERS for text in (*texts, *others)) or len(self.source) > _MOST_SOURCES:
            raise BadInput(
                "The model's description is too long.", f"Keep each text below {_TEXT_CHARACTERS} characters."
            )
        if not 1 <= self.resolution <= 65_536 or self.channels not in (1, 3, 4) or not 0 <= self.kimg < 1e12:
            raise BadInput("The model's description holds impossible sizes.", "Import or train the model again.")
        if len(self.lineage) > MOST_ANCESTORS:
            raise BadInput("The model's lineage is too long.", f"Keep the nearest {MOST_ANCESTORS} of its ancestors.")
        if not 0 <= self.codes <= MOST_CODES:
            raise BadInput("The model's description holds an impossible number of codes.", f"The most is {MOST_CODES}.")
        for name, digest in self.files.items():
            if name not in _HASHED_FILES or not _SHA256.fullmatch(digest):
                raise BadInput(f"The model's description names an odd file {name[:40]!r}.", "Import the model again.")

    @property
    def sha256(self) -> str:
        """The checksum of the generator's weights; it names the model in recipes and caches. Empty before saving."""
        return self.files.get(WEIGHTS_FILE, "")


def read_card(folder: Path) -> ModelCard:
    """The card in a model folder.

    Raises:
        NotFound: there is no such folder.
        Damaged: its `config.json` is missing, cut short or not one of ours.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no model {folder.name!r}.", "Choose one from the shelf.")
    try:
        with open(folder / CONFIG_FILE, "rb") as file:
            content = file.read(_CONFIG_BYTES + 1)
    except OSError:
        raise Damaged(f"The model {folder.name!r} has no readable {CONFIG_FILE}.", _again()) from None
    if len(content) > _CONFIG_BYTES:
        raise Damaged(f"The {CONFIG_FILE} of the model {folder.name!r} is far too large.", _again())
    try:
        return from_json(ModelCard, json.loads(content))
    except (ValueError, RecursionError):
        raise Damaged(f"The {CONFIG_FILE} of the model {folder.name!r} is garbled.", _again()) from None
    except BadInput as refusal:
        raise Damaged(f"The model {folder.name!r} cannot be used: {refusal.message}", refusal.hint) from None


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `README.md` and then `config.json`, each of them whole or not at all."""
    write_file(folder / README_FILE, readme(card))
    write_file(folder / CONFIG_FILE, json.dumps(to_json(card), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _again() -> str:
    return "Import the model again, or delete it from the shelf."


def readme(card: ModelCard) -> str:
    """The model's page for people, with the front matter that the Hugging Face Hub reads.

    Every text of the card is escaped, so that it can be neither markup nor front matter of its own.
    """
    sections = (
        ("", _front_matter(card)),
        ("", f"# {escape(card.title)}"),
        ("", escape(card.summary)),
        ("What it is", _what_it_is(card)),
        ("Trained on", escape(card.trained_on)),
        ("Licence and credit", _credit(card)),
        ("How it was made", _how_it_was_made(card)),
        ("Known weaknesses", escape(card.weaknesses)),
    )
    parts = [f"## {heading}\n\n{text}" if heading else text for heading, text in sections if text]
    return "\n\n".join(parts) + "\n"


def _front_matter(card: ModelCard) -> str:
    licence = re.sub(r"[^a-z0-9.]+", "-", card.licence.lower()).strip("-.")
    known = licence in _HUB_LICENCES
    lines = ["---", f"license: {licence if known else 'other'}"]
    if licence and not known:
        lines.append(f"license_name: {slug(licence)}")
    lines += ["library_name: latent-studio", "pipeline_tag: unconditional-image-generation", "tags:"]
    lines += [f"- {tag}" for tag in ("latent-studio", "gan", slug(card.family))]
    return "\n".join([*lines, "---"])


def _what_it_is(card: ModelCard) -> str:
    colours = {1: "grey", 3: "colour", 4: "colour with transparency"}[card.channels]
    lines = [f"- Family: {escape(card.family)}", f"- Pictures: {card.resolution} x {card.resolution} px, {colours}"]
    if card.classes:
        lines.append(f"- Classes: {', '.join(escape(name) for name in card.classes)}")
    if card.codes:
        lines.append(f"- Codes: the first {card.codes} coordinates of z (InfoGAN)")
    lines.append(f"- Seen in training: {card.kimg:g} thousand pictures")
    return "\n".join(lines)


def _credit(card: ModelCard) -> str:
    named = (("Licence", card.licence), ("Author", card.author), ("Made", card.created))
    return "\n".join(f"- {word}: {escape(text)}" for word, text in named if text)


def _how_it_was_made(card: ModelCard) -> str:
    command = f"    {_plain(card.command)}" if card.command else ""
    named = (("File", "file"), ("Format", "format"), ("sha256", "sha256"), ("Hub", "hub"), ("Revision", "revision"))
    source = "\n".join(f"- {word}: {escape(card.source[key])}" for word, key in named if card.source.get(key))
    return "\n\n".join(text for text in (escape(card.origin), source, command) if text)


def _plain(text: str) -> str:
    """The text on one line, without control characters and without marks that turn its direction around."""
    visible = (character if unicodedata.category(character)[0] != "C" else " " for character in text)
    return " ".join("".join(visible).split())


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    safe = _plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)

"""The words inside every export that say: a machine made this, with this recipe.

Machines read `DigitalSourceType` (IPTC, in an XMP packet), people read the statement, and the studio reads the recipe
back. One place makes these texts, for PNG, JPEG, WebP and MP4. Metadata can be stripped by anyone: it is a label, not
a proof.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from xml.sax.saxutils import quoteattr

from studio import __version__
from studio.errors import BadInput

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
STATEMENT = "Made by a machine: drawn by a generative adversarial network."
SOFTWARE = f"Latent Studio {__version__}"

_MOST_RECIPE_CHARACTERS = 1_000_000
_RECIPE_ATTRIBUTE = re.compile(rb'\bstudio:recipe="([^"<>]*)"')
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What an export says about itself.

    Attributes:
        title: what the artist calls it.
        model: the model's title or id.
        recipe: a scene as JSON values, enough to make the picture again; None leaves it out.
    """

    title: str = ""
    model: str = ""
    recipe: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", _UNPRINTABLE.sub(" ", self.title)[:500])
        object.__setattr__(self, "model", _UNPRINTABLE.sub(" ", self.model)[:500])

    @property
    def description(self) -> str:
        """The statement for people, with the model's name."""
        return f"{STATEMENT} Model: {self.model}." if self.model else STATEMENT


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """The recipe as one line of ASCII JSON.

    Raises:
        ValueError: a number that is not finite, or a recipe beyond what `parse_recipe` takes back.
    """
    text = json.dumps(recipe, separators=(",", ":"), allow_nan=False)
    if len(text) > _MOST_RECIPE_CHARACTERS:
        raise ValueError(f"a recipe of {len(text)} characters")
    return text


def parse_recipe(text: str | bytes) -> dict[str, Any]:
    """The recipe from text that came in a stranger's file.

    Raises:
        BadInput: it is too long, no JSON, nested too deeply, or no table. The values inside are not checked here.
    """
    if len(text) > _MOST_RECIPE_CHARACTERS:
        raise BadInput("The recipe in this file is too long.", "Choose a picture as the studio saved it.")
    try:
        recipe = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        recipe = None
    if not isinstance(recipe, dict):
        raise damaged_recipe()
    return recipe


def damaged_recipe() -> BadInput:
    """The sentence for a recipe that is there and cannot be read."""
    return BadInput("The recipe in this file is damaged.", "Choose a copy that was not changed since it was saved.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def xmp_packet(mark: Mark, *, most_bytes: int = 1_200_000) -> bytes:
    """An XMP packet (ISO 16684-1) with IPTC's digital source type, and the recipe if it fits into `most_bytes`."""
    packet = _packet(mark, recipe_text(mark.recipe) if mark.recipe is not None else "")
    return packet if len(packet) <= most_bytes else _packet(mark, "")


def _packet(mark: Mark, recipe: str) -> bytes:
    attributes = {
        "Iptc4xmpExt:DigitalSourceType": DIGITAL_SOURCE_TYPE,
        "xmp:CreatorTool": SOFTWARE,
        "studio:model": mark.model,
        "studio:recipe": recipe,
    }
    written = " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items() if value)
    texts = "".join(
        f'<dc:{name}><rdf:Alt><rdf:li xml:lang="x-default">{html.escape(value)}</rdf:li></rdf:Alt></dc:{name}>'
        for name, value in (("title", mark.title), ("description", mark.description))
        if value
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:studio="urn:latent-studio:1" {written}>{texts}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _quoted(value: str) -> str:
    """An XML attribute in double quotes, so that `recipe_in_xmp` finds its end."""
    return '"' + quoteattr(value)[1:-1].replace('"', "&quot;").replace(">", "&gt;") + '"'


def recipe_in_xmp(data: bytes) -> dict[str, Any] | None:
    """The recipe from any bytes that hold one of our XMP packets; None without one.

    The packet is searched as text: an XML parser would have to be guarded against entities that expand.

    Raises:
        BadInput: there is a recipe, and it is damaged or too long.
    """
    found = _RECIPE_ATTRIBUTE.search(data)
    if not found:
        return None
    if len(found[1]) > 6 * _MOST_RECIPE_CHARACTERS:
        raise damaged_recipe()
    return parse_recipe(html.unescape(found[1].decode("ascii", errors="replace")))


def film_tags(mark: Mark) -> dict[str, str]:
    """Metadata that MP4 players show. The recipe lies in the `synopsis`, the one long field they leave alone."""
    tags = {"title": mark.title, "comment": f"{mark.description} {DIGITAL_SOURCE_TYPE}", "artist": SOFTWARE}
    if mark.recipe is not None:
        tags["synopsis"] = recipe_text(mark.recipe)
    return {name: text for name, text in tags.items() if text}

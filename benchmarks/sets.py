"""The sets of pictures that scripts make for the models of the shelf.

python -m benchmarks.sets letters OUT                  # capitals of openly licensed typefaces, one folder each
python -m benchmarks.sets shapes OUT                   # drawn shapes, one folder each
python -m benchmarks.sets bestiary OUT monsters32.zip avatars32.zip   # sprites, cut out of their ground
python -m benchmarks.sets wardrobe OUT fashion28.zip   # class folders by name instead of number
"""

from __future__ import annotations

import argparse
import io
import math
import random
import string
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTER_PX = 64
SHAPE_PX = 32
FACES = 1000
"""Of the avatars: about as many as there are monsters and things together."""

TYPEFACES = (
    "allerta arapey averia-gwf averia-sans-gwf averia-serif-gwf bebas-neue cabin cabinsketch cantarell cardo comfortaa"
    " comic-neue compagnon courier-prime crosextra-carlito dancingscript dosis dotgothic16 ebgaramond elstob"
    " fantasque-sans firacode gfs-didot gfs-neohellenic gotico-antiqua inconsolata inter junction junicode jura karla"
    " kaushanscript kristi lato le-murmure league-mono league-spartan leckerli-one linuxlibertine lobster lobstertwo"
    " manrope national-park oldstandard oxygen play quattrocento quicksand radisnoir rampart reggae rocknroll"
    " sil-andika sil-charis sil-gentiumplus sixtyfour solide-mirage sora stick vollkorn yanone-kaffeesatz yrsa-rasa"
    " yusei-magic"
)
"""Debian's packages fonts-*; only those whose copyright file names the SIL Open Font Licence are read."""
_FILES_OF_ONE = 8
_CAPITAL = 0.62
_INK = 0.02

KINDS = {"items": "things", "monsters": "monsters"}
CLOTHES = ("t-shirts", "trousers", "pullovers", "dresses", "coats", "sandals", "shirts", "sneakers", "bags", "boots")
SHAPES = ("circle", "ring", "square", "triangle", "star", "cross")


def main() -> None:
    """Make one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=sorted(SETS))
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("sources", nargs="*", type=Path, help="the zips that it is made of")
    chosen = parser.parse_args()
    count = 0
    for kind, name, picture in SETS[chosen.which](*chosen.sources):
        folder = chosen.out / kind
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{name}.png")
        count += 1
    print(f"{count} pictures in {chosen.out}")


Made = Iterator[tuple[str, str, Image.Image]]
"""Class, name and picture, one after the other."""


def letters() -> Made:
    """A to Z in black on white, 64 px, of every typeface that is installed."""
    for package in TYPEFACES.split():
        for file in font_files(f"fonts-{package}"):
            try:
                font = ImageFont.truetype(file, 200)
                drawn = {letter: glyph(font, letter) for letter in string.ascii_uppercase}
            except OSError:
                continue  # a bitmap font, or a broken one
            if len({picture.tobytes() for picture in drawn.values()}) < len(drawn):
                continue  # boxes in the place of letters
            for letter, picture in drawn.items():
                yield letter, f"{package}-{file.stem}", picture


def font_files(package: str) -> list[Path]:
    """A few fonts of an installed Debian package under the OFL, spread over its styles."""
    licence = Path(f"/usr/share/doc/{package}/copyright")
    if not licence.is_file() or not any(word in licence.read_text() for word in ("OFL", "Open Font Licen")):
        return []
    listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=True).stdout.splitlines()
    files = sorted({Path(line).stem: Path(line) for line in listed if line.endswith((".ttf", ".otf"))}.values())
    return files[:: max(1, math.ceil(len(files) / _FILES_OF_ONE))]


def glyph(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    """One letter in the middle, its capitals 62 % of the square high, smaller if it is too wide. Raises OSError."""
    _, top, _, bottom = font.getbbox("H")
    left, up, right, down = font.getbbox(letter)
    if bottom <= top or right <= left or down <= up:
        raise OSError("no such letter")
    scale = min(_CAPITAL / (bottom - top), 0.92 / (right - left), 0.92 / (down - up))
    side = round(1 / scale)
    page = Image.new("L", (side, side), 255)
    ImageDraw.Draw(page).text(((side - left - right) / 2, (side - up - down) / 2), letter, fill=0, font=font)
    small = page.resize((LETTER_PX, LETTER_PX), Image.Resampling.LANCZOS)
    if (255 - np.asarray(small)).mean() < _INK * 255:
        raise OSError("hardly any ink")
    return small


def shapes(count: int = 200) -> Made:
    """Coloured shapes on coloured paper, drawn at four times their size."""
    lot, big = random.Random(0), 4 * SHAPE_PX
    for kind in SHAPES:
        for number in range(count):
            hue = lot.random()
            page = Image.new("RGB", (big, big), _colour(hue + 0.35 + 0.3 * lot.random(), 0.25, 0.95))
            radius = big * lot.uniform(0.24, 0.38)
            x, y = (big / 2 + big * lot.uniform(-0.1, 0.1) for _ in range(2))
            draw_shape(ImageDraw.Draw(page), kind, (x, y), radius, lot.uniform(0, 2 * math.pi), _colour(hue, 0.8, 0.75))
            yield kind, f"{number:03}", page.resize((SHAPE_PX, SHAPE_PX), Image.Resampling.LANCZOS)


def draw_shape(
    pen: ImageDraw.ImageDraw, kind: str, middle: tuple[float, float], radius: float, turn: float, ink: tuple[int, ...]
) -> None:
    """One of `SHAPES`."""
    x, y = middle
    if kind in ("circle", "ring"):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=ink if kind == "circle" else None, outline=ink, width=round(radius * 0.4))
        return
    if kind == "cross":
        for quarter in (0, math.pi / 2):
            step = (radius * math.cos(turn + quarter), radius * math.sin(turn + quarter))
            pen.line((x - step[0], y - step[1], x + step[0], y + step[1]), fill=ink, width=round(radius * 0.5))
        return
    corners = {"triangle": (1.0,) * 3, "square": (1.0,) * 4, "star": (1.0, 0.45) * 5}[kind]
    angles = [turn + 2 * math.pi * place / len(corners) for place in range(len(corners))]
    reach = [radius * part for part in corners]
    pen.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)], fill=ink)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    pixel = Image.new("HSV", (1, 1), (round(hue % 1 * 255), round(saturation * 255), round(value * 255)))
    return pixel.convert("RGB").getpixel((0, 0))  # type: ignore[return-value]


def bestiary(monsters: Path, avatars: Path) -> Made:
    """Monsters, things and a thousand faces, 32 px, with nothing around them."""
    for name, picture in pictures_of(monsters):
        if kind := KINDS.get(name.split("__")[0]):
            yield kind, name, cut_out(picture)
    faces = dict(pictures_of(avatars))
    for name in random.Random(0).sample(sorted(faces), FACES):
        yield "faces", name, cut_out(faces[name])


def cut_out(picture: Image.Image) -> Image.Image:
    """RGBA: what has the colour of the first pixel and can be reached from the border becomes transparent."""
    inside = Image.new("RGB", (picture.width + 2, picture.height + 2), picture.convert("RGB").getpixel((0, 0)))
    inside.paste(picture, (1, 1))
    mark = (255, 0, 254)
    ImageDraw.floodfill(inside, (0, 0), mark)
    pixels = np.asarray(picture.convert("RGBA")).copy()
    pixels[(np.asarray(inside)[1:-1, 1:-1] == mark).all(-1)] = 0
    return Image.fromarray(pixels)


def wardrobe(fashion: Path) -> Made:
    """Fashion-MNIST with words for its numbers."""
    with zipfile.ZipFile(fashion) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".png"):
                number, file = Path(name).parts[-2:]
                yield CLOTHES[int(number)], Path(file).stem, Image.open(io.BytesIO(archive.read(name)))


def pictures_of(archive: Path) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of every PNG of a zip."""
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if name.endswith(".png"):
                yield Path(name).stem, Image.open(io.BytesIO(opened.read(name)))


SETS: dict[str, Callable[..., Made]] = {
    "letters": letters, "shapes": shapes, "bestiary": bestiary, "wardrobe": wardrobe,
}  # fmt: skip

if __name__ == "__main__":
    main()

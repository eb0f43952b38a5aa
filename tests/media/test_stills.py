"""Pictures into bytes and recipes out of them, friendly and hostile."""

from __future__ import annotations

import io
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput
from studio.media.provenance import DIGITAL_SOURCE_TYPE, Mark
from studio.media.stills import Array, enlarge, opaque, read_recipe, to_jpeg, to_png, to_webp

RECIPE = {"model": "cats", "point": {"seeds": [1, 2], "weights": [0.25, 0.75]}, "title": "é \"<&>' \n 猫"}

SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def gradient(channels: int, size: int = 32) -> Array:
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    planes = [np.broadcast_to(ramp, (size, size)), np.broadcast_to(ramp[:, None], (size, size))] * 2
    return np.stack(planes[:channels], axis=2)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def described(data: bytes) -> ElementTree.Element:
    """The XMP description, read by a real XML parser."""
    info = opened(data).info
    packet = info["xmp"] if "xmp" in info else info["XML:com.adobe.xmp"]
    text = packet.decode() if isinstance(packet, bytes) else packet
    found = ElementTree.fromstring(text.removeprefix("\ufeff")).find(".//{*}Description")
    assert found is not None
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(text: bytes, head: bytes = b"latent-studio\0\0\0\0\0") -> bytes:
    plain = to_png(gradient(1), None)
    return plain[:33] + chunk(b"iTXt", head + text) + plain[33:]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_keeps_every_pixel_and_the_recipe(channels: int) -> None:
    array = gradient(channels)
    data = to_png(array, RECIPE, title="Späte Katze", model="cats v2")
    image = opened(data)
    assert np.array_equal(np.asarray(image).reshape(array.shape), array)
    assert read_recipe(data) == RECIPE
    assert image.info["Title"] == "Späte Katze" and "Latent Studio" in image.info["Software"]
    assert "cats v2" in image.info["Description"] and "machine" in image.info["Description"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_says_that_a_machine_made_it(channels: int) -> None:
    mark = Mark(title="A <b>", model='m"&', recipe=RECIPE)
    array = gradient(channels)
    for data in (to_png(array, RECIPE, "A <b>", 'm"&'), to_jpeg(array, mark=mark), to_webp(array, mark=mark)):
        about = described(data)
        assert about.get(SOURCE_TYPE) == DIGITAL_SOURCE_TYPE
        assert about.get("{urn:latent-studio:1}model") == 'm"&'
        assert about.findtext("{*}title/{*}Alt/{*}li") == "A <b>"
        assert read_recipe(data) == RECIPE


def test_previews_carry_no_metadata() -> None:
    assert b"xmpmeta" not in to_jpeg(gradient(3)) and b"xmpmeta" not in to_webp(gradient(3))
    assert read_recipe(to_jpeg(gradient(3))) is None


def test_a_recipe_too_long_for_jpeg_is_left_out_and_the_label_stays() -> None:
    data = to_jpeg(gradient(3), mark=Mark(recipe={"long": "x" * 80_000}))
    assert described(data).get(SOURCE_TYPE) == DIGITAL_SOURCE_TYPE
    assert read_recipe(data) is None


def test_jpeg_and_webp_look_alike() -> None:
    smooth = gradient(3, 64)
    for data in (to_jpeg(smooth, 95), to_webp(smooth, 95)):
        difference = np.asarray(opened(data).convert("RGB")).astype(int) - smooth
        assert np.abs(difference).mean() < 4
    assert opened(to_jpeg(gradient(1))).mode == "L"
    assert len(to_jpeg(smooth, 30)) < len(to_jpeg(smooth, 95))


def test_transparency_shows_the_checkerboard_or_the_background() -> None:
    clear = np.zeros((32, 32, 4), np.uint8)
    below = np.asarray(opaque(clear))
    assert set(np.unique(below).tolist()) == {204, 255} and below[0, 0, 0] != below[0, 8, 0]
    assert np.array_equal(np.asarray(opaque(clear, (10, 20, 30)))[5, 5], [10, 20, 30])
    half = np.full((8, 8, 4), 200, np.uint8)
    half[:, :, 3] = 51
    assert np.allclose(np.asarray(opaque(half, (100, 100, 100))), 120, atol=1)
    assert np.array_equal(np.asarray(opaque(clear)), below), "the board itself must stay clean"
    assert opened(to_jpeg(clear)).mode == "RGB"
    assert opened(to_webp(gradient(4))).mode == "RGBA"


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(wrong: Array) -> None:
    with pytest.raises(ValueError, match="picture"):
        to_jpeg(wrong)


def test_a_recipe_must_be_real_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_png(gradient(1), {"psi": float("nan")})


def test_other_files_have_no_recipe() -> None:
    plain = io.BytesIO()
    Image.fromarray(gradient(3)).save(plain, "PNG")
    for data in (plain.getvalue(), to_png(gradient(3), None), b"", b"\x89PNG\r\n\x1a\n", b"hello" * 100):
        assert read_recipe(data) is None


@pytest.mark.parametrize(
    "text",
    [b"{", b"[1]", b"\xff\xfe", b'{"a": NaN}', b"[" * 200_000, b'{"a":' * 100_000, b'{"a":%s}' % (b"9" * 5000)],
)
def test_damaged_recipes_are_named(text: bytes) -> None:
    with pytest.raises(BadInput, match="damaged"):
        read_recipe(png_with(text))


def test_bombs_are_refused_unread() -> None:
    with pytest.raises(BadInput, match="too long"):
        read_recipe(png_with(b'{"a":"' + b"x" * 2_000_000 + b'"}'))
    packed = zlib.compress(b'{"a":"' + b" " * 50_000_000 + b'"}')
    with pytest.raises(BadInput, match="damaged"):
        read_recipe(png_with(packed, head=b"latent-studio\0\1\0\0\0"))


def test_a_wrong_checksum_or_a_cut_recipe_is_damage() -> None:
    data = to_png(gradient(3), RECIPE)
    place = data.index(b'"cats"')
    with pytest.raises(BadInput, match="damaged"):
        read_recipe(data[:place] + b'"dogs"' + data[place + 6 :])
    with pytest.raises(BadInput, match="damaged"):
        read_recipe(data[:place])


def test_a_forest_of_empty_chunks_ends() -> None:
    assert read_recipe(b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"") * 100_000) is None


def test_any_flipped_byte_gives_a_recipe_or_a_sentence() -> None:
    random = np.random.default_rng(0)
    for data in (to_png(gradient(1, 8), RECIPE), to_jpeg(gradient(3, 8), mark=Mark(recipe=RECIPE))):
        for _ in range(300):
            damaged = bytearray(data)
            damaged[random.integers(len(data))] = random.integers(256)
            cut = bytes(damaged[: random.integers(len(data))]) if random.random() < 0.3 else bytes(damaged)
            try:
                assert isinstance(read_recipe(cut), dict | None)
            except BadInput as refusal:
                assert refusal.hint


def test_enlarge_is_hard_for_pixel_art_and_smooth_for_others() -> None:
    small = gradient(3, 16)
    big = enlarge(small, 64)
    assert np.array_equal(big, small.repeat(4, axis=0).repeat(4, axis=1))
    assert not np.array_equal(enlarge(small, 64, crisp=False), big)
    assert enlarge(small, 16) is small
    assert enlarge(gradient(1, 16), 48).shape == (48, 48, 1)
    assert enlarge(np.zeros((10, 20, 4), np.uint8), 40).shape == (20, 40, 4)
    large = enlarge(gradient(3, 64), 128)
    assert not np.array_equal(large, gradient(3, 64).repeat(2, axis=0).repeat(2, axis=1))

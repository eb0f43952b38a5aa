from __future__ import annotations

import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from studio.data.pictures import open_picture, read_picture
from studio.errors import BadInput


def refusal(content: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        open_picture(content)
    return caught.value.message


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + b"\x00\x00\xff\xffIDAT" + bytes(64)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n  <html lang='en'><head></head></html>", "web page"),
        (b"hello, this is only a note\n", "text file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(40), "video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "not downloaded"),
        (bytes(range(256)) * 4, "not a picture"),
    ],
)
def test_says_what_a_file_is_that_is_no_picture(content: bytes, words: str) -> None:
    assert words in refusal(content)


def test_starts_no_program_for_postscript(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize("size", [(100_000, 100_000), (9_000, 8_000), (2**31 - 1, 2**31 - 1)])
def test_refuses_huge_pictures_by_their_header(size: tuple[int, int]) -> None:
    assert "too large" in refusal(png_header(*size))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_reads_every_kind_and_refuses_its_first_half(kind, noise, encoded) -> None:
    content = encoded(noise(1, 64, 48), kind)
    opened = read_picture(content)
    assert (opened.width, opened.height, opened.image.mode, opened.kind) == (64, 48, "RGB", kind)
    assert "damaged or was cut short" in refusal(content[: len(content) // 2])


def test_tiny_pictures_are_refused(encoded) -> None:
    assert "tiny (1 x 1" in refusal(encoded(Image.new("RGB", (1, 1)), "GIF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_pictures_upright(kind: str, orientation: int, encoded) -> None:
    upright = Image.new("RGB", (64, 32), "blue")
    upright.paste("red", (0, 0, 32, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = read_picture(encoded(stored, kind, exif=exif))
    assert (opened.width, opened.height) == opened.image.size == (64, 32)
    red, _green, blue = opened.image.getpixel((5, 5))
    assert red > 200 and blue < 60
    assert all(opened.image.getpixel(place)[2] > 200 for place in ((60, 5), (5, 28), (60, 28)))


def test_orientation_counts_for_a_reduced_picture(noise, encoded) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = read_picture(encoded(noise(0, 800, 400), "JPEG", exif=exif), at_least_px=50)
    assert (opened.width, opened.height) == (400, 800)
    assert opened.image.height == 2 * opened.image.width < 400


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_scales_sixteen_bits(kind: str, encoded) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16)
    image = open_picture(encoded(Image.fromarray(np.tile(values, (16, 1))), kind))
    assert image.mode == "L"
    assert np.abs(np.asarray(image)[0].astype(int) - np.arange(256)).max() <= 1


def test_scales_floating_point(encoded) -> None:
    values = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (16, 1))
    assert np.abs(np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF")))[0] - np.arange(256.0)).max() <= 1
    assert "no brightness" in refusal(encoded(Image.fromarray(np.full((16, 16), np.inf, np.float32)), "TIFF"))


def test_cmyk_becomes_rgb(encoded) -> None:
    image = open_picture(encoded(Image.new("RGB", (32, 32), (220, 30, 40)).convert("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image)[16, 16].astype(int) - (220, 30, 40)).max() < 12


def test_first_frame_of_an_animation(encoded) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        image = open_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        red, green, blue = image.convert("RGB").getpixel((9, 9))
        assert red > 240 and green < 15 and blue < 15


def test_palette_with_transparency(encoded) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 8, 16))
    opened = open_picture(encoded(image, "PNG", transparency=0))
    assert opened.mode == "RGBA"
    assert opened.getpixel((2, 2))[3] == 0
    assert opened.getpixel((12, 2)) == (0, 0, 255, 255)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (Image.new("1", (16, 16), 1), "L"), (Image.new("L", (16, 16), 9), "L"),
        (Image.new("LA", (16, 16), (9, 100)), "RGBA"), (Image.new("LA", (16, 16), (9, 255)), "RGB"),
        (Image.new("RGBA", (16, 16), (1, 2, 3, 255)), "RGB"), (Image.new("RGBA", (16, 16), (1, 2, 3, 0)), "RGBA"),
        (Image.new("P", (16, 16), 0), "RGB"),
    ],
)  # fmt: skip
def test_modes(image: Image.Image, mode: str, encoded) -> None:
    assert open_picture(encoded(image)).mode == mode


def test_colour_key_becomes_alpha(encoded) -> None:
    image = Image.new("RGB", (16, 16), (10, 20, 30))
    image.paste((200, 0, 0), (0, 0, 4, 4))
    opened = open_picture(encoded(image, transparency=(10, 20, 30)))
    assert opened.mode == "RGBA" and opened.getpixel((10, 10))[3] == 0 and opened.getpixel((1, 1))[3] == 255


def test_colour_profiles_become_srgb_and_broken_ones_are_ignored(noise, encoded) -> None:
    image = noise(3)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = np.asarray(open_picture(encoded(image)))
    assert np.array_equal(plain, np.asarray(open_picture(encoded(image, icc_profile=lab))))
    broken = bytes(16) + b"RGB " + bytes(200)
    assert np.array_equal(plain, np.asarray(open_picture(encoded(image, icc_profile=broken))))


def test_reduces_early_but_never_below(noise, encoded) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        opened = read_picture(encoded(noise(2, 700, 500), kind), at_least_px=100)
        assert (opened.width, opened.height) == (700, 500)
        assert 100 <= min(opened.image.size) <= 200


def test_a_path_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(BadInput):
        open_picture(tmp_path / "missing.png")
    with pytest.raises(BadInput):
        open_picture(tmp_path)


def test_damaged_copies_never_raise_anything_else(noise, encoded) -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        content = encoded(noise(5), kind)
        for _ in range(25):
            copy = bytearray(content)
            for place in random.integers(0, len(copy), 6):
                copy[place] = random.integers(256)
            try:
                image = open_picture(bytes(copy))
            except BadInput:
                continue
            assert image.mode in ("L", "RGB", "RGBA")


def test_metadata_does_not_matter_to_the_pixels(noise, encoded) -> None:
    image = noise(7)
    exif = Image.Exif()
    exif[0x010F] = "camera"
    assert open_picture(encoded(image, exif=exif)).tobytes() == image.tobytes()
    assert io.BytesIO(encoded(image)).read(4) == b"\x89PNG"

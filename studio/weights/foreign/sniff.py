"""What a file is, by its first bytes and never by its name; and what to say of one that no adapter knows."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from studio.errors import BadInput, Damaged
from studio.weights.foreign.contents import Contents, Record

KNOWN_FORMATS = (
    "StyleGAN2 and 3 (NVIDIA, rosinality, projected-gan), R3GAN, FastGAN, lightweight-gan, stylegan2-pytorch, "
    "DCGAN and MLP generators"
)
_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC_ENDS = 2 + 9 + len(_MAGIC)  # behind the protocol, and behind a frame where there is one
_ZIP = b"PK\x03\x04"
_SNIFFED_BYTES = 4096
_HEADER_BYTES = 8_000_000


def container(data: memoryview) -> str:
    """What kind of file it is: "zip", "legacy", "pickle" or "safetensors".

    Raises:
        BadInput: anything else; the sentence says what it is and what to do.
        Damaged: it is empty or only the beginning of a model.
    """
    head = bytes(data[:_SNIFFED_BYTES])
    if not head:
        raise Damaged("This file is empty.", "Download or copy it again.")
    if head.startswith(_ZIP):
        return "zip"
    if len(head) > 2 and head[0] == 0x80 and head[1] <= 5 and not _has_whole_header(data):
        if head[1] < 2:
            raise BadInput("This pickle was written by a very old Python.", "Load it there and save it as safetensors.")
        return "legacy" if _MAGIC in head[2:_MAGIC_ENDS] else "pickle"
    if _is_safetensors(head, len(data)):
        return "safetensors"
    _refuse_other(head)


def _has_whole_header(data: memoryview) -> bool:
    """Whether a safetensors header lies at the start: its length may begin with the bytes of a pickle, such as 0x280."""
    length = int.from_bytes(data[:8], "little")
    if length > _HEADER_BYTES or length + 8 > len(data) or bytes(data[8:9]) != b"{":
        return False
    try:
        return isinstance(json.loads(bytes(data[8 : 8 + length])), dict)
    except (ValueError, RecursionError):
        return False


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40


_BINARIES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "This is a Keras or HDF5 file.", "The studio opens PyTorch and NVIDIA's TensorFlow models."),
    (0, b"GGUF", "This is a GGUF file, a language model as a rule.", "The studio opens generators of pictures."),
    (0, b"ggml", "This is a GGML file, a language model as a rule.", "The studio opens generators of pictures."),
    (4, b"TFL3", "This is a TensorFlow Lite model.", "Ask for the weights it was made from."),
    (0, b"PK\x05\x06", "This zip is empty.", "Download or copy it again."),
    (0, b"PK", "This is a zip of a kind that the studio does not read.", "Unpack it, and drop the weights file itself."),
    (0, b"\x1f\x8b", "This is a gzip archive.", "Unpack it, and drop the weights file itself."),
    (0, b"7z\xbc\xaf\x27\x1c", "This is a 7-Zip archive.", "Unpack it, and drop the weights file itself."),
    (0, b"Rar!", "This is a RAR archive.", "Unpack it, and drop the weights file itself."),
    (0, b"\xfd7zXZ\x00", "This is an xz archive.", "Unpack it, and drop the weights file itself."),
    (0, b"BZh", "This is a bzip2 archive.", "Unpack it, and drop the weights file itself."),
    (0, b"\x28\xb5\x2f\xfd", "This is a Zstandard archive.", "Unpack it, and drop the weights file itself."),
    (257, b"ustar", "This is a tar archive.", "Unpack it, and drop the weights file itself; very old torch files are tars "
     "too and have to be saved anew with a newer torch."),
    (0, b"\x89PNG", "This is a picture (PNG).", "Pictures go to the training room; here the studio wants weights."),
    (0, b"\xff\xd8\xff", "This is a picture (JPEG).", "Pictures go to the training room; here the studio wants weights."),
    (0, b"GIF8", "This is a picture (GIF).", "Pictures go to the training room; here the studio wants weights."),
    (8, b"WEBP", "This is a picture (WebP).", "Pictures go to the training room; here the studio wants weights."),
    (4, b"ftyp", "This is a film or a picture.", "Pictures go to the training room; here the studio wants weights."),
    (0, b"%PDF", "This is a PDF document.", "The studio wants the weights file itself."),
    (0, b"\x93NUMPY", "This is a single numpy array.", "The studio wants the whole weights file."),
    (0, b"MZ", "This is a Windows program.", "Do not start it; the studio wants the weights file itself."),
    (0, b"\x7fELF", "This is a Linux program.", "Do not start it; the studio wants the weights file itself."),
)  # fmt: skip


def _refuse_other(head: bytes) -> NoReturn:
    for place, mark, what, advice in _BINARIES:
        if head[place : place + len(mark)] == mark:
            raise BadInput(what, advice)
    if _is_onnx(head):
        raise BadInput("This is an ONNX model.", "Ask for the PyTorch weights it was made from.")
    _refuse_text(head)
    if not any(head):
        raise Damaged("This file begins with zeros only: a download that did not finish.", "Download it again.")
    raise BadInput(
        "This is not a file of weights that the studio knows.",
        f"It opens {KNOWN_FORMATS}, as .pkl, .pt or .safetensors.",
    )


def _is_onnx(head: bytes) -> bool:
    """A protocol buffer that begins with a version number and the name of what wrote it."""
    return len(head) > 16 and head[0] == 0x08 and head[1] < 32 and head[2] == 0x12 and 0 < head[3] < 64


def _refuse_text(head: bytes) -> None:
    """Return only if the file is no text."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<svg")) or b"<html" in text[:1000]:
        raise BadInput(
            "This is a web page that was saved under the name of a model.",
            "Go to that page and download the file itself.",
        )
    if text.startswith(b"version https://git-lfs"):
        raise BadInput(
            "This is a Git LFS pointer: a note that says where the weights are, not the weights.",
            "Download the file from the model's page, or run git lfs pull.",
        )
    if any(byte < 32 and byte not in (8, 9, 10, 12, 13, 27) for byte in head):
        return
    if text.startswith((b"(dp", b"(lp", b"(i", b"c__builtin__", b"ccopy_reg", b"cos\n", b"(c", b"}q")):
        raise BadInput("This is a pickle of a kind that no model uses.", "Do not open it elsewhere either.")
    what = "a JSON file" if text.startswith((b"{", b"[")) else "a text file"
    raise BadInput(f"This is {what}, not weights.", "Drop the weights that belong to it (.pkl, .pt or .safetensors).")


_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
_WEIGHTS = (".pkl", ".pt", ".pth", ".safetensors", ".bin", ".ckpt")


def other_zip(names: list[str]) -> BadInput:
    """The refusal of a zip that is no torch file, by the names in it."""
    pictures = sum(name.lower().endswith(_PICTURES) for name in names)
    if pictures > len(names) / 2:
        return BadInput("This is a zip of pictures, not of weights.", "Pictures go to the training room.")
    if any(name.endswith(".weights.h5") for name in names):
        return BadInput("This is a Keras model.", "The studio opens PyTorch and NVIDIA's TensorFlow models.")
    if weights := [name for name in names if name.lower().endswith(_WEIGHTS)]:
        return BadInput(
            f"This is a zip with a file of weights in it ({weights[0][-60:]}).", "Unpack it, and drop that file."
        )
    if any(name.endswith("archive_format") for name in names):
        return BadInput("This is an exported program of torch.", "Ask for the plain weights (a state dict) instead.")
    if names and all(name.endswith(".npy") for name in names):
        return BadInput("This is a numpy archive.", "Ask its author for the weights as safetensors or as a state dict.")
    shown = ", ".join(name[:40] for name in sorted(names)[:3]) or "nothing"
    return BadInput(f"This is a zip that holds no model. In it: {shown}.", "Drop the weights file itself.")


# ── parsed files that no adapter knows ──

_SHOWN_NAMES = 6
_DEEPEST = 40
_LONGEST_NAME = 80
_COUNTED_NAMES = 20_000
_MODULE_PARTS = frozenset({"_parameters", "_buffers", "_modules"})


def other_kind(contents: Contents) -> BadInput | None:
    """The refusal of models that are no GANs with a latent vector, known by their names; None for all others."""
    joined = " ".join(_some_names(contents))
    for pattern, what, advice in _OTHER_KINDS:
        if pattern.search(joined):
            return BadInput(what, advice)
    return None


def unknown(contents: Contents) -> BadInput:
    """The refusal of a file that was read but that no adapter knows: what was found in it, and what would be known."""
    names = _some_names(contents)
    for refusal in (_program(contents.tree), _no_weights(contents.tree, names)):
        if refusal is not None:
            return refusal
    shown = ", ".join(name[:60] for name in names[:_SHOWN_NAMES])
    return BadInput(
        f"The studio does not know this network. It holds {len(names)} tensors, beginning with {shown}.",
        f"Known are {KNOWN_FORMATS}.",
    )


def _some_names(contents: Contents) -> list[str]:
    return list(itertools.islice(tensor_names(contents.tree), _COUNTED_NAMES))


def tensor_names(tree: object, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Dotted names of the arrays in nested dicts, lists, tuples and records, in their order."""
    if isinstance(tree, np.ndarray):
        yield prefix
    elif isinstance(tree, Record):
        yield from tensor_names(tree.state, prefix, depth)
    elif isinstance(tree, (dict, list, tuple)) and depth < _DEEPEST:
        for name, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            inner = "" if name in _MODULE_PARTS else f".{str(name)[:_LONGEST_NAME]}"
            yield from tensor_names(part, f"{prefix}{inner}".removeprefix("."), depth + 1)


_OTHER_KINDS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"lora_up\.|lora_down\.|lora_[AB]\.|lora\.up|lora_unet"),
        "This is a LoRA: a small addition to a diffusion model.",
        "The studio plays GANs; it has no use for it.",
    ),
    (
        re.compile(
            r"model\.diffusion_model\.|time_embedding\.linear_1|down_blocks\.0\.attentions|time_embed\.0\.weight"
            r"|double_blocks\.0\.|first_stage_model\.|transformer_blocks\.0\.attn"
        ),
        "This is a diffusion model.",
        "The studio plays GANs: models with one latent vector for a picture.",
    ),
    (
        re.compile(r"encoder\.layer\.0\.attention|text_model\.encoder\.layers|layers\.0\.self_attn|lm_head"),
        "This is a language or text model.",
        "The studio plays GANs: generators of pictures.",
    ),
    (
        re.compile(r"model\.\d+\.conv_block\.|model\.model\.1\.model\.|\bdown1\.model\.0\.weight|netG_A\.|generator_A"),
        "This is an image-to-image model (such as CycleGAN or pix2pix): it changes a picture and has no latent space.",
        "The studio plays generators that begin from a latent vector.",
    ),
)


def _no_weights(tree: object, names: list[str]) -> BadInput | None:
    keys = set(tree) if isinstance(tree, dict) else set()
    if {"state", "param_groups"} <= keys or (names and all("exp_avg" in name or ".step" in name for name in names)):
        return BadInput(
            "This is the state of an optimizer only, without a network.", "Drop the weights that were saved beside it."
        )
    if not names:
        return BadInput("This file holds no tensors: nothing of a network.", "Drop the file that holds the weights.")
    return None


def _program(tree: object) -> BadInput | None:
    """A whole object of somebody's program, not weights by name."""
    if not isinstance(tree, Record):
        return None
    if tree.name.startswith(("dill", "cloudpickle")):
        return BadInput(
            "This is a piece of a program, saved with dill.",
            "Ask its author for the plain weights (a state dict) instead.",
        )
    return BadInput(
        f"This is a whole object of somebody's program ({tree.name[:80]}), and the studio does not know its network.",
        "Ask its author for the plain weights: torch.save(model.state_dict(), …).",
    )

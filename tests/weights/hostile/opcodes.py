"""Streams of opcodes that lie about lengths, or use the stack and the memo as nobody should."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.weights.hostile.assembler import call, encode, pickled, text
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "opcodes"
TWO, FOUR, FIVE = b"\x80\x02", b"\x80\x04", b"\x80\x05"


def attacks(trap: Trap) -> Iterator[Hostile]:
    for group in (_lengths, _numbers, _texts, _memo, _stack, _containers, _builds, _extensions, _frames):
        for label, content in group().items():
            word = group.__name__.strip("_")
            yield Hostile(kind=KIND, name=f"{word}-{label}.pkl", content=content)


def _lengths() -> dict[str, bytes]:
    """Lengths that are larger than the file, or than any memory."""
    eight, four = struct.Struct("<Q").pack, struct.Struct("<I").pack
    return {
        "binbytes8": FOUR + b"\x8e" + eight(2**62) + b"x.",
        "binbytes8-negative": FOUR + b"\x8e" + eight(2**64 - 1) + b"x.",
        "binunicode8": FOUR + b"\x8d" + eight(2**62) + b"x.",
        "bytearray8": FIVE + b"\x96" + eight(2**62) + b"x.",
        "bytearray8-ten-gigabytes": FIVE + b"\x96" + eight(10**10) + b"x.",
        "binbytes": FOUR + b"B" + four(2**32 - 1) + b"x.",
        "binunicode": FOUR + b"X" + four(2**32 - 1) + b"x.",
        "binstring-negative": TWO + b"T" + struct.pack("<i", -1) + b"x.",
        "binstring": TWO + b"T" + struct.pack("<i", 2**31 - 1) + b"x.",
        "short-binbytes": FOUR + b"C\xffx.",
        "long4": TWO + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        "long4-negative": TWO + b"\x8b" + struct.pack("<i", -(2**31)) + b"x.",
        "long1": TWO + b"\x8a\xffx.",
        "cut-in-a-length": FOUR + b"\x8e\1\2\3",
        "cut-after-opcode": FOUR + b"\x8e",
        "next-buffer": FIVE + b"\x97.",
        "readonly-buffer": FIVE + b"\x97\x98.",
        "readonly-on-bytearray": FIVE + b"\x96" + eight(1) + b"x\x98.",
    }


def _numbers() -> dict[str, bytes]:
    """Numbers that cost much to read, or that readers read differently."""
    return {
        "int-million-digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "long-million-digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "int-underscores": b"I1_000\n.",
        "int-hexadecimal": b"I0x10\n.",
        "int-spaces": b"I  12  \n.",
        "int-arabic-digits": "I\u0661\u0662\n.".encode(),
        "int-empty": b"I\n.",
        "int-bool-twice": b"I001\n.",
        "long-without-l": b"L12\n.",
        "long-megabytes": TWO + b"\x8b" + struct.pack("<i", 8_000_000) + b"\x7f" * 8_000_000 + b".",
        "long-megabytes-as-key": TWO + b"}\x8b" + struct.pack("<i", 4_000_000) + b"\x7f" * 4_000_000 + b"Ns.",
        "float-words": b"Finfinity\n.",
        "float-thousand-digits": b"F" + b"9" * 100_000 + b"\n.",
        "float-garbage": b"Fone\n.",
        "float-nan-key": TWO + b"}G" + struct.pack(">d", float("nan")) + b"Ns.",
        "million-longs": TWO + b"](" + b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" * 300_000 + b"e.",
    }


def _texts() -> dict[str, bytes]:
    return {
        "bad-utf8": TWO + b"X\4\0\0\0\xff\xfe\xfd\xfc.",
        "lone-surrogate": TWO + text("\ud800") + b".",
        "lone-surrogate-key": TWO + b"}" + text("\ud800.weight") + b"Ns.",
        "string-unquoted": b"Sabc\n.",
        "string-half-quoted": b"S'abc\n.",
        "string-bad-escape": b"S'\\xZZ'\n.",
        "string-octal": b"S'\\777\\N{BULLET}'\n.",
        "unicode-bad-escape": b"V\\uZZZZ\n.",
        "unicode-huge-escape": b"V\\U7fffffff\n.",
        "unicode-long-line": b"V" + b"x" * 4_000_000,
        "no-newline-at-all": b"S'" + b"x" * 1_000_000,
        "html-as-text": TWO + text("<img src=x onerror=alert(1)>") + b".",
        "control-characters": TWO + b"}" + text("\x00\x1b[2J\u202e") + b"Ns.",
    }


def _memo() -> dict[str, bytes]:
    put, get = b"r" + struct.pack("<I", 0xFFFFFFF0), b"j" + struct.pack("<I", 0xFFFFFFF0)
    return {
        "long-binput-enormous": TWO + b"N" + put + b".",
        "long-binput-and-get": TWO + b"N" + put + b"0" + get + b".",
        "put-enormous-decimal": b"Np99999999999999999999999999\n.",
        "put-negative": b"Np-1\n.",
        "put-word": b"Npabc\n.",
        "put-exponent": b"Np1e9\n.",
        "put-million-digits": b"Np" + b"9" * 1_000_000 + b"\n.",
        "get-missing": TWO + b"h\x05.",
        "get-missing-long": TWO + get + b".",
        "get-word": b"gabc\n.",
        "put-on-nothing": TWO + b"q\0.",
        "memoize-on-nothing": FOUR + b"\x94.",
        "memoize-a-mark": FOUR + b"(\x94.",
        "memoize-millions": FOUR + b"N\x940" * 1_500_000 + b"N.",
        "memoize-one-object-millions": FOUR + b"]" + b"\x94" * 3_000_000 + b".",
        "put-overwritten": TWO + b"]q\0" + b"0}q\0" * 200_000 + b".",
        "get-millions": TWO + b"]q\0(" + b"h\0" * 1_500_000 + b"l.",
    }


def _stack() -> dict[str, bytes]:
    return {
        "empty": b"",
        "protocol-only": TWO,
        "stop-only": b".",
        "stop-after-protocol": TWO + b".",
        "no-stop": TWO + b"}",
        "stop-with-two": TWO + b"]].",
        "stop-with-mark": TWO + b"(.",
        "pop-nothing": TWO + b"0.",
        "pop-mark-nothing": TWO + b"1.",
        "dup": TWO + b"]2\x86.",
        "dup-nothing": TWO + b"2.",
        "tuple3-of-one": TWO + b"N\x87.",
        "tuple-over-mark": TWO + b"N(\x86.",
        "list-without-mark": TWO + b"Nl.",
        "dict-odd": TWO + b"(Nd.",
        "setitems-odd": TWO + b"}(Nu.",
        "setitems-without-mark": TWO + b"}u.",
        "appends-without-mark": TWO + b"]e.",
        "reduce-of-one": TWO + b"NR.",
        "reduce-none": TWO + b"N)R.",
        "reduce-with-list": TWO + b"ccollections\nOrderedDict\n]R.",
        "reduce-text": TWO + text("os.system") + b")R.",
        "build-of-one": TWO + b"Nb.",
        "newobj-none": TWO + b"N)\x81.",
        "newobj-of-one": TWO + b")\x81.",
        "newobj-ex-none": FOUR + b"N)}\x92.",
        "newobj-ex-allowed": FOUR + b"ccollections\nOrderedDict\n)}" + text("a") + b"Ns\x92.",
        "unknown-opcode": TWO + b"\xff.",
        "unknown-opcode-zero": TWO + b"\0.",
        "marks-million": TWO + b"(" * 2_000_000 + b".",
        "nones-millions": TWO + b"N" * 8_000_000 + b".",
        "lists-millions": TWO + b"]" * 8_000_000 + b".",
        "dictionaries-millions": TWO + b"}" * 8_000_000 + b".",
        "sets-millions": FOUR + b"\x8f" * 8_000_000 + b".",
        "empty-tuples-millions": TWO + b"(" + b")" * 8_000_000 + b"l.",
        "frozensets-millions": FOUR + b"(\x91" * 3_000_000 + b".",
        "strings-millions": FOUR + b"(" + b"\x8c\0" * 4_000_000 + b"l.",
        "globals-millions": TWO + b"(" + b"ca\nb\n" * 800_000 + b"l.",
        "calls-million": TWO + b"(" + b"ccollections\nOrderedDict\n)R" * 300_000 + b"l.",
        "pop-push-millions": TWO + b"N0" * 6_000_000 + b"N.",
        "rubbish-after-stop": pickled({"main.0.weight": 1}) + b"\xde\xad" * 100,
        "two-pickles": pickled({}) + pickled(call("os", "system", "true")),
    }


def _containers() -> dict[str, bytes]:
    """Items added to what is no container."""
    targets = {
        "none": b"N", "number": b"K\1", "text": text("a"), "tuple": b")", "global": b"cos\nenviron\n",
        "call": encode(call("collections", "OrderedDict")), "class": b"ctraining.networks\nGenerator\n", "bytes": b"C\1a",
        "array": encode(call("numpy.core.multiarray", "_reconstruct", None, (0,), b"b")), "true": b"\x88",
    }  # fmt: skip
    found = {}
    for label, target in targets.items():
        found[f"setitem-on-{label}"] = FOUR + target + b"K\1K\2s."
        found[f"append-on-{label}"] = FOUR + target + b"K\1a."
        found[f"build-on-{label}"] = FOUR + target + b"}" + text("__class__") + b"Nsb."
    return found | {
        "appends-on-dictionary": TWO + b"}(K\1e.",
        "setitems-on-list": TWO + b"](K\0K\1u.",
        "setitem-on-list-far": TWO + b"]J\xff\xff\xff\x7fNs.",
        "additems-on-list": FOUR + b"](K\1\x90.",
        "additems-on-dictionary": FOUR + b"}(K\1\x90.",
        "additems-unhashable": FOUR + b"\x8f(]\x90.",
        "frozenset-unhashable": FOUR + b"(}\x91.",
        "key-list": TWO + b"}]Ns.",
        "key-dictionary": TWO + b"}}Ns.",
        "key-tuple": TWO + b"})Ns.",
        "key-global": TWO + b"}cos\nsystem\nNs.",
        "key-call": TWO + b"}" + encode(call("collections", "OrderedDict")) + b"Ns.",
        "key-none": TWO + b"}NNs.",
        "key-float": TWO + b"}G\0\0\0\0\0\0\0\0Ns.",
        "key-frozenset": FOUR + b"}(\x91Ns.",
        "keys-that-are-equal": TWO + b"}(K\1K\2\x88K\3G\x3f\xf0\0\0\0\0\0\0K\4u.",
    }


def _builds() -> dict[str, bytes]:
    """States that reach for the machinery of objects."""
    stub = encode(call("training.networks", "Generator"))
    words = ("__setstate__", "__class__", "__dict__", "__reduce__", "__init__", "__del__", "__getattr__", "__hash__",
        "__eq__", "__slots__",
             "__module__", "forward", "_forward_hooks", "_backward_hooks", "_modules", "_parameters", "__call__")  # fmt: skip
    found = {
        f"plants-{word.strip('_').replace('_', '-')}": TWO
        + b"}"
        + text("G_ema")
        + stub
        + b"}"
        + text(word)
        + b"cos\nsystem\nsbs."
        for word in words
    }
    return found | {
        "slots-none": TWO + stub + b"NN\x86b.",
        "slots-odd": TWO + stub + b"](N}t" + b"b.",
        "state-tuple-of-three": TWO + stub + b"NNN\x87b.",
        "state-text": TWO + stub + text("x") + b"b.",
        "state-itself": TWO + stub + b"q\0h\0b.",
        "state-twice": TWO + stub + b"}b}b.",
        "state-of-a-class": TWO + b"ctraining.networks\nGenerator\n}" + text("forward") + b"cos\nsystem\nsb.",
        "state-of-allowed-function": TWO + b"ctorch._utils\n_rebuild_tensor_v2\n}" + text("__code__") + b"Nsb.",
        "state-of-ordered-dict": TWO
        + encode(call("collections", "OrderedDict"))
        + b"}"
        + text("items")
        + b"cos\nsystem\nsb.",
        "state-hundred-thousand": TWO + stub + b"}b" * 300_000 + b".",
    }


def _extensions() -> dict[str, bytes]:
    """Extension codes and persistent identities."""
    return {
        "ext1": TWO + b"\x82\x01(" + encode("true") + b"tR.",
        "ext1-zero": TWO + b"\x82\x00.",
        "ext2": TWO + b"\x83\x01\x01(" + encode("true") + b"tR.",
        "ext4": TWO + b"\x84\x01\x01\x01\x01(" + encode("true") + b"tR.",
        "ext4-negative": TWO + b"\x84\xff\xff\xff\xff.",
        "persid": b"Pos.system\n.",
        "persid-path": b"P../../etc/passwd\n.",
        "binpersid-text": TWO + encode("/etc/passwd") + b"Q.",
        "binpersid-none": TWO + b"NQ.",
        "binpersid-nothing": TWO + b"Q.",
        "binpersid-storage": TWO + encode(("storage", None, "0", "cpu", 10**12)) + b"Q.",
        "inst-nothing": TWO + b"ios\nsystem\n.",
        "obj-nothing": TWO + b"o.",
        "obj-empty": TWO + b"(o.",
    }


def _frames() -> dict[str, bytes]:
    frame = lambda size, body=b"N.": FOUR + b"\x95" + struct.pack("<Q", size) + body  # noqa: E731
    return {
        "enormous": frame(2**62),
        "negative": frame(2**64 - 1),
        "zero": frame(0),
        "one-too-few": frame(1),
        "one-too-many": frame(3),
        "nested": frame(20, b"\x95" + struct.pack("<Q", 10**9) + b"N."),
        "cuts-an-opcode": frame(2, b"X\4\0\0\0abcd."),
        "cut": FOUR + b"\x95\1\2",
        "million": FOUR + (b"\x95" + bytes(8)) * 500_000 + b"N.",
        "protocol-six": b"\x80\x06N.",
        "protocol-255": b"\x80\xffN.",
        "protocol-again-higher": TWO + b"\x80\xff}.",
        "protocol-million": TWO * 1_000_000 + b"N.",
    }

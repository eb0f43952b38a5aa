"""Small files that ask for unbounded work: nesting, sharing that grows exponentially, circles, collisions."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.weights.hostile.assembler import Global, Opcodes, call, encode, pickled, text
from tests.weights.hostile.genuine import nvlabs_tree, persistent, random
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "bombs"
TWO, FOUR = b"\x80\x02", b"\x80\x04"
STUB = encode(call("training.networks", "Block"))
PERSISTENT = encode(Global("torch_utils.persistence", "_reconstruct_persistent_obj"))
META = b"".join(
    encode(part) for part in ("type", "class", "version", 6, "module_src", "", "class_name", "SynthesisBlock")
)
DEEP, DEEPER = 100_000, 1_000_000
MERSENNE = 2**61 - 1


def attacks(trap: Trap) -> Iterator[Hostile]:
    for group in (_deep, _laughing, _circles, _collisions):
        for label, content in group().items():
            yield Hostile(kind=KIND, name=f"{group.__name__.strip('_')}-{label}.pkl", content=content)
    for label, node in _modules().items():
        tree = nvlabs_tree(extra={"_modules": node})
        yield Hostile(kind=KIND, name=f"modules-{label}.pkl", content=pickled(tree, 4), acceptable=False)
    for label, node in _attributes().items():
        tree = nvlabs_tree(extra={"extra": node})
        yield Hostile(kind=KIND, name=f"attribute-{label}.pkl", content=pickled(tree, 4), acceptable=True)
    for label, node in _settings().items():
        tree = nvlabs_tree(synthesis_kwargs=node)
        yield Hostile(kind=KIND, name=f"settings-{label}.pkl", content=pickled(tree, 4), acceptable=True)


def _deep() -> dict[str, bytes]:
    ordered = b"ccollections\nOrderedDict\n"
    return {
        "lists": TWO + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
        "lists-million": TWO + b"]" * DEEPER + b"a" * (DEEPER - 1) + b".",
        "tuples": TWO + b"N" + b"\x85" * DEEPER + b".",
        "tuples-by-mark": TWO + b"(" * DEEP + b"t" * DEEP + b".",
        "dictionaries": TWO + b"}K\0" * DEEP + b"}" + b"s" * DEEP + b".",
        "frozensets": FOUR + b"(" * DEEP + b"\x91" * DEEP + b".",
        "calls": TWO + ordered * DEEP + b")" + b"R\x85" * DEEP + b".",
        "calls-of-calls": TWO + b"ctraining.networks\nBlock\n" + b")R" * DEEPER + b".",
        "new-objects": TWO + b"ctraining.networks\nBlock\n" + b")\x81" * DEEP + b".",
        "states": TWO + STUB * DEEP + b"}" + b"b" * DEEP + b".",
        "parameters": TWO + b"ctorch._utils\n_rebuild_parameter\n" * DEEP + b"N" + b"\x85R" * DEEP + b".",
        "encodes": TWO + b"c_codecs\nencode\n" * DEEP + text("a") + b"\x85R" * DEEP + b".",
        "sets": TWO + b"c__builtin__\nset\n(" * DEEP + b"](N" + b"e" + b"tR" * DEEP + b".",
        "state-dict-values": TWO + b"}" + text("main.0.weight") + b"]" * DEEP + b"a" * (DEEP - 1) + b"s.",
        "half-nested": TWO + b"]" * 90 + b"a" * 89 + b".",
    }


def _laughing() -> dict[str, bytes]:
    """Each level holds the one below ten or two times."""
    levels = 60
    tenfold = b"".join(
        b"](" + b"h" + bytes([level]) + b"h" + bytes([level]) + b"e" + b"q" + bytes([level + 1])
        for level in range(levels)
    )
    tuples = b"".join(b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(levels))
    maps = b"".join(b"}(K\0h%cK\1h%cuq%c" % (level, level, level + 1) for level in range(levels))
    states = b"".join(
        STUB + b"}(" + text("a") + b"h%c" % level + text("b") + b"h%cubq%c" % (level, level + 1)
        for level in range(levels)
    )
    ordered = b"".join(
        b"ccollections\nOrderedDict\n](K\0h%c\x86K\1h%c\x86e\x85Rq%c" % (level, level, level + 1)
        for level in range(levels)
    )
    return {
        "lists": TWO + b"]q\0" + tenfold + b".",
        "tuples": TWO + b")q\0" + tuples + b".",
        "dictionaries": TWO + b"}q\0" + maps + b".",
        "ordered-dicts": TWO + b"]q\0" + ordered + b".",
        "states": TWO + b"]q\0" + states + b".",
        "tuples-as-key": TWO + b"}" + text("a") + b"q\0" + tuples + b"Ns.",
        "tuples-in-a-set": FOUR + b"\x8f(" + b")q\0" + tuples + b"\x90.",
        "tuples-by-dup-as-key": TWO + b"})" + b"2\x86" * levels + b"Ns.",
        "tuples-by-dup": TWO + b")" + b"2\x86" * levels + b".",
        "frozensets": FOUR + b")q\0" + b"".join(b"(h%c(h%ct\x91q%c" % (n, n, n + 1) for n in range(levels)) + b".",
        "set-of-lists": TWO + b")q\0" + tuples + b"0c__builtin__\nset\n(h\x3ctR.",
        "names": TWO
        + b"N"
        + b"0"
        + b"]("
        + b"".join(_long_name(n) for n in range(30))
        + b"}("
        + _numbered_tensors()
        + b"u"
        + b"s" * 30
        + b"e.",
        "text-twenty-megabytes": TWO + text("ha" * 5_000_000) + b"q\0(" + b"h\0" * 500_000 + b"l.",
        "encoded-text": TWO
        + text("\u00e9" * 2_000_000)
        + b"q\0("
        + b"c_codecs\nencode\n(h\0X\x06\0\0\0latin1tR" * 2_000
        + b"l.",
        "encoded-wide": TWO + b"c_codecs\nencode\n(" + text("a" * 4_000_000) + text("utf-32") + b"tR.",
        "state-dict": TWO + b"]q\0" + tenfold + b"}" + text("main.0.weight") + b"h\x3cs.",
    }


def _long_name(number: int) -> bytes:
    return b"}" + text(f"{number:0100}")


def _numbered_tensors() -> bytes:
    """An array under a hundred thousand names."""
    first = text("0") + encode(random(8)) + b"q\1"
    return first + b"".join(text(f"{number:0100}") + b"h\1" for number in range(100_000))


def _circles() -> dict[str, bytes]:
    return {
        "list": TWO + b"]q\0h\0a.",
        "dictionary": TWO + b"}q\0" + text("main") + b"h\0s.",
        "tuple-through-list": TWO + b"]q\0h\0\x85a.",
        "dictionary-as-state": TWO + b"}q\0" + text("state_dict") + b"h\0s" + text("g_ema") + b"h\0s.",
        "decoder": TWO + b"}q\0" + b"".join(text(word) + b"h\0s" for word in ("G_ema", "g_ema", "GAN", "g",
            "state_dict", "params")) + b".",
        "object-in-its-state": TWO + STUB + b"q\0}" + text("_modules") + b"}" + text("a") + b"h\0ssb.",
        "object-is-its-state": TWO + STUB + b"q\0h\0b.",
        "object-in-its-arguments": TWO + b"]q\0ctraining.networks\nBlock\nh\0\x85Rq\1ah\1.",
        "set-through-object": FOUR + b"\x8fq\0(ctraining.networks\nBlock\nh\0\x85R\x90.",
        "snapshot": TWO + b"}q\0" + text("G_ema") + STUB + b"}" + text("_modules") + b"h\0sbs.",
        "keyed-by-itself": TWO + b"]q\0" + b"h\0\x85q\x010h\0h\x01a0}h\x01Ns.",
        "network-of-itself": TWO + b"cdnnlib.tflib.network\nNetwork\n)\x81q\0}(" + text("version") + b"K\4"
            + text("components") + b"}"
        + text("synthesis") + b"h\0s" + text("variables") + b"]" + text("static_kwargs") + b"}ub0h\0h\0h\0\x87.",
        "namespace": TWO + b"}q\0(" + text("g_ema") + b"}" + text("args") + b"cargparse\nNamespace\n)\x81h\0bu.",
    }  # fmt: skip


def _collisions() -> dict[str, bytes]:
    """Keys whose hashes are equal: a dictionary of n of them takes n² steps."""

    def long(value: int) -> bytes:
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(content)]) + content

    count = 60_000
    equal = b"".join(long(MERSENNE * place) + b"N" for place in range(count))
    close = b"".join(b"\x8a\x08" + struct.pack("<q", place << 44) + b"N" for place in range(count))
    floats = b"".join(b"G" + struct.pack(">d", float(2**61 * place)) + b"N" for place in range(count))
    texts = b"".join(text(f"{place:08}") + b"N" for place in range(400_000))
    return {
        "equal-hashes": TWO + b"}(" + equal + b"u.",
        "equal-hashes-in-a-set": FOUR + b"\x8f(" + equal.replace(b"N", b"") + b"\x90.",
        "close-hashes": TWO + b"}(" + close + b"u.",
        "floats": TWO + b"}(" + floats + b"u.",
        "many-keys": TWO + b"}(" + texts + b"u.",
        "tuples-of-equal-hashes": TWO
        + b"}("
        + b"".join(long(MERSENNE * place) + b"\x85N" for place in range(count))
        + b"u.",
    }


def _modules() -> dict[str, object]:
    """Children of a network that would be walked for ever, or for 2⁶⁰ steps."""
    doubled = b"".join(
        STUB + b"}" + text("_modules") + b"}(" + text("a") + b"h%c" % level + text("b") + b"h%cusbq%c" % (level, level + 1)
        for level in range(60)
    )  # fmt: skip
    persistent_stub = encode(persistent("SynthesisBlock", {"_parameters": {}, "_buffers": {}, "_modules": {}}), 4)
    chain = (STUB + b"}" + text("_modules") + b"}" + text("a")) * 5_000
    persistent_chain = (PERSISTENT + b"}(" + META + text("state") + b"}" + text("_modules") + b"}" + text("a")) * 5_000
    return {
        "doubled-sixty-times": Opcodes(b"}" + text("synthesis") + STUB + b"q\0" + doubled + b"s"),
        "child-is-itself": Opcodes(b"}q\0" + text("a") + STUB + b"}" + text("_modules") + b"h\0sbs"),
        "two-parents": Opcodes(b"}q\0(" + (text("a") + STUB + b"}" + text("_modules") + b"h\0sb") + (text("b") + STUB + b"}"
        + text("_modules") + b"h\0sb") + b"u"),
        "five-thousand-deep": Opcodes(b"}" + text("a") + chain + STUB + b"ssb" * 5_000 + b"s"),
        "persistent-five-thousand-deep": Opcodes(b"}" + text("a") + persistent_chain + b"N" + b"ssu\x85R" * 5_000 + b"s"),
        "hundred-thousand-wide": Opcodes(b"}(" + persistent_stub + b"q\x050" + b"".join(text(f"{i}")
            + b"h\x05" for i in range(100_000)) + b"u"),
        "a-list": [persistent("SynthesisNetwork", {})] * 3,
        "a-text": "synthesis",
        "a-number": 2**62,
        "names-are-paths": {"../../../tmp/x": persistent("SynthesisNetwork", {"_parameters": {}, "_buffers": {},
            "_modules": {}})},
        "names-are-numbers": {1: persistent("SynthesisNetwork", {})},
        "names-are-enormous": {"a" * 3_000_000: persistent("SynthesisNetwork", {})},
        "children-are-functions": {"synthesis": call("os", "system", "true"), "mapping": None},
        "children-are-dictionaries": {"synthesis": {"_parameters": {}}, "mapping": {}},
    }  # fmt: skip


def _attributes() -> dict[str, object]:
    return {
        "laughing": Opcodes(b")q\x10" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(16, 80))),
        "laughing-states": Opcodes(b")q\x10" + b"".join(STUB + b"}" + text("a") + b"h%ch%c\x86sbq%c" % (n, n, n
            + 1) for n in range(16, 80))),
        "circle": Opcodes(b"}q\x10" + text("a") + b"h\x10s"),
    }  # fmt: skip


SHARED_TEXT = (
    text("x" * 199)
    + b"q\x100"
    + b"".join(b"](" + b"h%c" % level * 95 + b"eq%c0" % (level + 1) for level in (16, 17, 18))
    + b"h\x13"
)
"""A text of which 857,375 copies would be shown."""


def _settings() -> dict[str, object]:
    """Constructor's arguments: kept on the card as JSON, so they are walked."""
    return {
        "laughing": {"channel_base": 64, "channel_max": 8, "extra": _attributes()["laughing"]},
        "circle": {"channel_base": 64, "channel_max": 8, "extra": _attributes()["circle"]},
        "itself": Opcodes(
            b"}q\x10("
            + text("channel_base")
            + b"K@"
            + text("channel_max")
            + b"K\x08"
            + text("synthesis_kwargs")
            + b"h\x10u"
        ),
        "ten-megabytes": {"channel_base": 64, "channel_max": 8, "note": "x" * 10_000_000},
        "many": {"channel_base": 64, "channel_max": 8, **{f"option_{i}": i for i in range(100_000)}},
        "markup": {
            "channel_base": 64,
            "channel_max": 8,
            "note": "<script>alert(1)</script>",
            "path": "/home/somebody/secret",
        },
        "shared-text": {"channel_base": 64, "channel_max": 8, "note": Opcodes(SHARED_TEXT)},
        "surrogates": {"channel_base": 64, "channel_max": 8, "note": "\ud800\udfff", "\udc80": 1},
        "not-a-number": {"channel_base": 64, "channel_max": 8, "note": float("nan"), "more": float("inf")},
    }

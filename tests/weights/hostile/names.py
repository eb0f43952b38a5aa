"""Globals whose names are tricks: dotted paths into modules that are allowed, look-alikes, names that two readers split apart."""

from __future__ import annotations

from collections.abc import Iterator

from tests.weights.hostile.assembler import Call, Global, Opcodes, call, encode, pickled, text
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "names"

DOTTED = {
    "torch-utils-to-os": ("torch._utils", "torch.os.system"),
    "torch-to-os": ("torch", "serialization.os.system"),
    "torch-storage-to-os": ("torch.storage", "torch.os.system"),
    "collections-to-os": ("collections", "abc.sys.modules"),
    "numpy-to-os": ("numpy", "ctypeslib.os.system"),
    "argparse-to-os": ("argparse", "_os.system"),
    "globals-of-a-function": ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    "code-of-a-function": ("torch._utils", "_rebuild_tensor_v2.__code__"),
    "subclasses": ("builtins", "set.__class__.__base__.__subclasses__"),
    "ordered-dict-init": ("collections", "OrderedDict.__init__"),
    "ordered-dict-fromkeys": ("collections", "OrderedDict.fromkeys"),
    "ndarray-tofile": ("numpy", "ndarray.tofile"),
    "ndarray-setstate": ("numpy", "ndarray.__setstate__"),
    "dtype-class": ("numpy", "dtype.__class__"),
    "easydict-to-os": ("dnnlib.util", "os.system"),
    "persistence-to-sys": ("torch_utils.persistence", "sys.modules"),
    "namespace-to-class": ("argparse", "Namespace.__class__"),
    "set-to-reduce": ("builtins", "set.__reduce_ex__"),
}
ODD = {
    "empty": ("", ""),
    "no-module": ("", "system"),
    "no-name": ("os", ""),
    "space-before": (" os", "system"),
    "space-after": ("os ", "system"),
    "carriage-return": ("os\r", "system"),
    "tabulator": ("os\t", "system"),
    "nul": ("os\0", "system"),
    "nul-after-allowed": ("collections", "OrderedDict\0.system"),
    "cyrillic": ("\u043es", "system"),
    "full-width": ("\uff4f\uff53", "system"),
    "capitals": ("OS", "SYSTEM"),
    "zero-width": ("os\u200b", "system"),
    "surrogate": ("os\udc80", "system"),
    "relative": (".os", "system"),
    "parent": ("..", "system"),
    "path": ("../../etc/passwd", "x"),
    "dots-only": ("....", "...."),
    "ten-thousand-dots": ("a" + ".a" * 10_000, "x"),
    "a-megabyte": ("a" * 1_000_000, "b" * 1_000_000),
    "html": ("<script>alert(1)</script>", "<b>"),
    "terminal-escape": ("\x1b]0;owned\x07", "x"),
    "right-to-left": ("\u202egnp.", "x"),
    "format-string": ("%s%s%n{0.__class__}", "{}"),
    "dunder-main": ("__main__", "x"),
    "dunder-builtins": ("__builtins__", "eval"),
    "stdlib-alias": ("os.path", "os"),
    "allowed-prefix": ("collectionsx", "OrderedDict"),
    "allowed-suffix": ("os.collections", "OrderedDict"),
    "torch-prefix": ("torch_utils.persistence.os", "system"),
    "network-prefix": ("training.networks", "os.system"),
    "pg-modules": ("pg_modules.blocks", "__import__"),
}


def attacks(trap: Trap) -> Iterator[Hostile]:
    for label, (module, attribute) in DOTTED.items():
        name = f"dotted-{label}.pkl"
        runs = "torch" if attribute.endswith("os.system") and module.startswith("torch.") else ""
        node = Call(Global(module, attribute), (trap.shell(name),))
        yield Hostile(kind=KIND, name=name, content=pickled(node, 4), runs=runs)
    for label, (module, attribute) in ODD.items():
        stack_global = text(module) + text(attribute) + b"\x93"
        content = pickled(Call(Opcodes(stack_global), (trap.shell(label),)), 4)
        yield Hostile(kind=KIND, name=f"odd-{label}.pkl", content=content, acceptable=True)
    yield from (Hostile(kind=KIND, name=f"{label}.pkl", content=content) for label, content in _malformed(trap).items())
    yield from _as_class(trap)


def _malformed(trap: Trap) -> dict[str, bytes]:
    """GLOBAL and STACK_GLOBAL that have no proper names to look up."""
    argument = encode(trap.shell("names-malformed"))
    return {
        "stack-global-of-numbers": b"\x80\x04K\1K\2\x93.",
        "stack-global-of-bytes": b"\x80\x04C\2osC\6system\x93(" + argument + b"tR.",
        "stack-global-of-lists": b"\x80\x04]]\x93.",
        "stack-global-of-globals": b"\x80\x04cos\nsystem\ncos\nsystem\n\x93.",
        "stack-global-on-nothing": b"\x80\x04\x93.",
        "stack-global-over-mark": b"\x80\x04X\2\0\0\0os(\x93.",
        "global-without-newline": b"\x80\x02cos",
        "global-with-one-line": b"\x80\x02cos\n",
        "global-of-bad-unicode": b"\x80\x02c\xff\xfe\n\x80\n.",
        "global-of-a-long-line": b"\x80\x02c" + b"a" * 4_000_000 + b"\nx\n.",
        "global-dotted-protocol-two": b"\x80\x02ctorch._utils\ntorch.os.system\n(" + argument + b"tR.",
        "global-carriage-return": b"\x80\x02cos\r\nsystem\r\n(" + argument + b"tR.",
        "global-only": b"\x80\x02cos\nsystem\n.",
    }


def _as_class(trap: Trap) -> Iterator[Hostile]:
    """Functions in the place of a class: allowed calls that are handed the hostile global."""
    hostile = {
        "rebuild-from-type": call("torch._tensor", "_rebuild_from_type_v2", Global("os", "system"), Global("torch",
            "Tensor"), ("true",), {}),
        "reconstructor": call("copyreg", "_reconstructor", Global("subprocess", "Popen"), Global("builtins", "object"), None),
        "newobj-function": call("copyreg", "__newobj__", Global("subprocess", "Popen"), ["true"]),
        "ndarray-subtype": call("numpy.core.multiarray", "_reconstruct", Global("numpy", "memmap"), (0,), b"b"),
        "ndarray-subtype-os": call("numpy.core.multiarray", "_reconstruct", Global("os", "system"), (0,), b"b"),
        "parameter-of-global": call("torch._utils", "_rebuild_parameter", Global("os", "system"), True, Global("os", "system")),
        "parameter-with-state": call("torch._utils", "_rebuild_parameter_with_state", None, True, None,
            {"__class__": Global("os", "system")}),
        "tensor-hooks": call("torch._utils", "_rebuild_tensor_v2", None, 0, (), (), False, {0: Global("os", "system")}),
        "wrapper-subclass": call("torch._utils", "_rebuild_wrapper_subclass", Global("os", "system"), None, (), (),
            0, None, None, False),
        "device-tensor-from-numpy": call("torch._utils", "_rebuild_device_tensor_from_numpy", None, None, "cpu", False),
        "sparse": call("torch._utils", "_rebuild_sparse_tensor", Global("torch", "sparse_coo"), (None, None, (2**40,), True)),
        "quantised": call("torch._utils", "_rebuild_qtensor", None, 0, (2**40,), (1,), (None, 1.0, 0), False, None),
        "typed-storage": call("torch.storage", "TypedStorage", 2**40),
        "float-storage": call("torch", "FloatStorage", 2**40),
    }  # fmt: skip
    for label, node in hostile.items():
        yield Hostile(kind=KIND, name=f"class-{label}.pkl", content=pickled({"G_ema": node}, 4), acceptable=False)

"""Pickles that call something when they are loaded: the commonest attack, in every spelling we know."""

from __future__ import annotations

import marshal
from collections.abc import Iterator

from tests.weights.hostile.assembler import NEWEST, Built, Call, Global, New, Opcodes, call, encode, pickled, text
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "calls"


def attacks(trap: Trap) -> Iterator[Hostile]:
    for label in _direct(trap, ""):
        for protocol in range(NEWEST + 1) if label in EVERY_PROTOCOL else (2 + len(label) % 3,):
            name = f"{label}-protocol-{protocol}.pkl"
            yield Hostile(kind=KIND, name=name, content=pickled(_direct(trap, name)[label], protocol), runs="pickle")
    for label in _unusual(trap, ""):
        name = f"{label}.pkl"
        yield Hostile(kind=KIND, name=name, content=_unusual(trap, name)[label], runs="" if label in IDLE else "pickle")
    for label, node in _quiet().items():
        yield Hostile(kind=KIND, name=f"{label}.pkl", content=pickled(node, 4))
    yield from _disguised(trap)


EVERY_PROTOCOL = ("os-system", "subprocess-popen", "builtins-eval", "builtins-exec", "builtins-getattr",
    "builtins-import", "runpy",
                  "importlib")  # fmt: skip


def _direct(trap: Trap, name: str) -> dict[str, Call]:
    """Calls by function name; each leaves its mark or at least does what an audit hook sees."""
    shell, source, mark = trap.shell(name), trap.source(name), str(trap.mark(name))
    words = ["touch", mark]
    return {
        "os-system": call("os", "system", shell),
        "subprocess-popen": call("subprocess", "Popen", words),
        "builtins-eval": call("builtins", "eval", source),
        "builtins-exec": call("builtins", "exec", source),
        "builtins-getattr": Call(call("builtins", "getattr", call("importlib", "import_module", "os"), "system"), (shell,)),
        "builtins-import": call("builtins", "__import__", "wave"),
        "runpy": call("runpy", "_run_code", call("builtins", "compile", source, "x", "exec"), {}),
        "importlib": call("importlib", "import_module", "aifc"),
        "posix-system": call("posix", "system", shell),
        "os-popen": call("os", "popen", shell),
        "os-spawn": call("os", "spawnvp", 0, "touch", words),
        "os-posix-spawn": call("os", "posix_spawnp", "touch", words, {}),
        "os-exec": call("os", "execvp", "touch", words),
        "os-putenv": call("os", "putenv", "HOSTILE", "1"),
        "os-mkdir": call("os", "mkdir", mark),
        "os-open": call("os", "open", mark, 65),
        "os-symlink": call("os", "symlink", "/etc/passwd", mark),
        "subprocess-call": call("subprocess", "call", words),
        "subprocess-check-output": call("subprocess", "check_output", words),
        "subprocess-getoutput": call("subprocess", "getoutput", shell),
        "builtins-compile": call("builtins", "compile", source, "x", "exec"),
        "builtins-open": call("builtins", "open", mark, "w"),
        "io-open": call("io", "open", mark, "w"),
        "codecs-open": call("codecs", "open", mark, "w"),
        "logging-file": call("logging", "FileHandler", mark),
        "zipfile-write": call("zipfile", "ZipFile", mark, "w"),
        "sqlite": call("sqlite3", "connect", mark),
        "shutil-copy": call("shutil", "copyfile", "/etc/hostname", mark),
        "pty-spawn": call("pty", "spawn", words),
        "timeit": call("timeit", "timeit", source, "pass", call("timeit", "default_timer"), 1),
        "profile-run": call("cProfile", "run", source, mark),
        "trace-run": Call(call("builtins", "getattr", call("trace", "Trace", 0, 0), "run"), (source,)),
        "pdb-run": call("bdb", "Bdb"),
        "code-interpreter": Call(call("builtins", "getattr", call("code", "InteractiveInterpreter"), "runsource"), (source,)),
        "doctest": call("doctest", "script_from_examples", source),
        "script-helper": call("test.support.script_helper", "run_python_until_end", "-c", source),
        "uuid-command": call("uuid", "_get_command_stdout", *words),
        "spawn-with-pipes": call("multiprocessing.util", "spawnv_passfds", b"/bin/touch", [w.encode() for w in words], ()),
        "marshal": call("marshal", "loads", marshal.dumps(compile("1 + 1", "x", "eval"))),
        "code-object": Call(call("types", "FunctionType", call("marshal", "loads", _code(source)),
            {"open": Global("builtins", "open")})),
        "pickle-in-pickle": call("pickle", "loads", pickled(call("os", "system", shell))),
        "c-pickle-in-pickle": call("_pickle", "loads", pickled(call("os", "system", shell))),
        "ctypes": call("ctypes", "CDLL", "libc.so.6"),
        "ctypes-dlopen": call("_ctypes", "dlopen", "libc.so.6", 0),
        "socket": call("socket", "create_connection", ("127.0.0.1", 9), 0.1),
        "socket-resolve": call("socket", "gethostbyname", "localhost"),
        "urlopen": call("urllib.request", "urlopen", "http://127.0.0.1:9/"),
        "http-client": Call(call("builtins", "getattr", call("http.client", "HTTPConnection", "127.0.0.1", 9), "connect")),
        "functools-partial": Call(call("functools", "partial", Global("os", "system"), shell)),
        "functools-reduce": call("functools", "reduce", Global("io", "open"), [mark, "w"]),
        "attrgetter": Call(Call(call("operator", "attrgetter", "system"), (call("importlib", "import_module", "os"),)), (shell,)),
        "methodcaller": Call(call("operator", "methodcaller", "system", shell), (call("importlib", "import_module", "os"),)),
        "itemgetter": Call(Call(call("operator", "itemgetter", "system"), (call("builtins", "vars", call("importlib",
            "import_module", "os")),)), (shell,)),
        "map-and-list": call("builtins", "list", call("builtins", "map", Global("os", "system"), [shell])),
        "filter-and-deque": call("collections", "deque", call("builtins", "filter", Global("os", "system"), [shell])),
        "starmap": call("builtins", "list", call("itertools", "starmap", Global("os", "system"), [(shell,)])),
        "set-of-map": call("builtins", "set", call("builtins", "map", Global("os", "system"), [shell])),
        "ordered-dict-of-map": call("collections", "OrderedDict", call("builtins", "map", Global("os", "system"), [shell])),
        "resolve-name": Call(call("pkgutil", "resolve_name", "os:system"), (shell,)),
        "pydoc-locate": Call(call("pydoc", "locate", "os.system"), (shell,)),
        "numpy-runstring": call("numpy.testing._private.utils", "runstring", source, {}),
        "numpy-savetxt": call("numpy", "savetxt", mark, [1.0]),
        "numpy-memmap": call("numpy", "memmap", mark, "uint8", "w+", 0, (1,)),
        "weakref-finalize": Call(call("weakref", "finalize", Global("builtins", "print"), Global("os", "system"), shell)),
        "asyncio-subprocess": call("asyncio", "run", call("asyncio", "create_subprocess_shell", shell)),
        "thread": Call(call("builtins", "getattr", call("threading", "Timer", 0.0, Global("os", "system"), [shell]), "run")),
        "delete": call("shutil", "rmtree", mark),
        "remove": call("os", "remove", mark),
        "webbrowser": Call(call("builtins", "getattr", call("webbrowser", "GenericBrowser", words), "open"), ("x",)),
    }  # fmt: skip


def _code(source: str) -> bytes:
    return marshal.dumps(compile(source, "x", "exec"))


def _quiet() -> dict[str, object]:
    """What harms without doing anything that a hook sees, or what must not be tried even by a control."""
    return {
        "exit": call("builtins", "exit"),
        "os-exit": call("os", "_exit", 0),
        "os-fork": call("os", "fork"),
        "fork-exec": call("_posixsubprocess", "fork_exec"),
        "numpy-load": call("numpy", "load", "/etc/hostname", None, True),
        "atexit": call("atexit", "register", Global("os", "system"), "true"),
        "copyreg-extension": call("copyreg", "add_extension", "os", "system", 240),
        "signal": call("signal", "raise_signal", 0),
        "abort": call("os", "abort"),
        "segmentation-fault": call("faulthandler", "_sigsegv"),
        "kill-parent": call("os", "kill", call("os", "getppid"), 9),
        "sleep": call("time", "sleep", 1e9),
        "input": call("builtins", "input"),
        "breakpoint": call("builtins", "breakpoint"),
        "recursion-limit": call("sys", "setrecursionlimit", 2**31 - 1),
        "huge-power": call("builtins", "pow", 10, 10**9),
        "huge-bytearray": call("builtins", "bytearray", 2**40),
        "huge-range": call("builtins", "list", call("builtins", "range", 2**40)),
        "torch-load": call("torch", "load", "/etc/hostname"),
        "torch-hub": call("torch.hub", "load", "somebody/something", "model"),
        "torch-jit-load": call("torch.jit", "load", "/etc/hostname"),
        "torch-compile-source": call("torch.utils.cpp_extension", "load_inline", "x", "int main() {}"),
        "torch-distributed": call("torch.distributed", "init_process_group", "gloo"),
        "torch-set-default": call("torch", "set_default_dtype", Global("torch", "float64")),
        "dill": call("dill._dill", "_create_function", call("dill._dill", "_load_type", "CodeType")),
        "cloudpickle": call("cloudpickle.cloudpickle", "_make_function", None),
        "joblib": call("joblib.numpy_pickle", "NumpyArrayWrapper"),
        "pandas": call("pandas", "read_pickle", "http://127.0.0.1:9/"),
        "pip": call("pip", "main", ["download", "x"]),
        "studio-itself": call("studio.paths", "write_file", "/tmp/x", b"x"),
        "studio-open": call("studio.weights.foreign.opening", "inspect", "/dev/zero"),
        "type": call("builtins", "type", "X", (), {"__del__": Global("os", "abort")}),
        "setattr": call("builtins", "setattr", Global("collections", "OrderedDict"), "__init__", None),
        "globals": call("builtins", "globals"),
        "super": call("builtins", "super"),
        "object": call("builtins", "object"),
        "bytes-repeat": call("operator", "mul", b"x", 2**40),
        "generator-frame": call("sys", "_getframe"),
    }


IDLE = frozenset({"newobj-popen", "newobj-ex"})
"""Pickle makes these objects without initialising them."""


def _unusual(trap: Trap, name: str) -> dict[str, bytes]:
    """Calls by other opcodes than GLOBAL and REDUCE, and globals by other ways."""
    shell = trap.shell(name)
    argument, system = encode(shell), b"cos\nsystem\n"
    return {
        "inst": b"(" + argument + b"ios\nsystem\n.",
        "obj": b"(" + system + argument + b"o.",
        "newobj-popen": pickled(New(Global("subprocess", "Popen"), (["touch", str(trap.mark(name))],))),
        "newobj-ex": b"\x80\x04" + encode(Global("subprocess", "Popen"), 4) + encode(([["touch", str(trap.mark(name))]][0],))
        + b"}\x92.",
        "setitem-after-call": b"\x80\x02}X\1\0\0\0a" + system + b"(" + argument + b"tRs.",
        "call-popped": b"\x80\x02" + system + b"(" + argument + b"tR0}.",
        "call-under-mark": b"\x80\x02(" + system + b"(" + argument + b"tR1}.",
        "call-memoised": b"\x80\x02" + system + b"q\x000}X\1\0\0\0ah\x00(" + argument + b"tRs.",
        "call-before-stop-twice": b"\x80\x02" + system + b"(" + argument + b"tR0}..",
        "names-from-memo": b"\x80\x04" + text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93(" + argument + b"tR.",
        "names-swapped-in-memo": b"\x80\x04" + text("collections") + b"\x94" + text("OrderedDict") + b"\x94\x930"
        + text("os") + b"q\x000" + text("system") + b"q\x010h\x00h\x01\x93(" + argument + b"tR.",
        "globals-by-build": b"\x80\x02" + encode(Built(Global("types", "SimpleNamespace"), None)) + b"0" + system + b"("
        + argument + b"tR.",
        "build-slots": b"\x80\x02" + encode(call("types", "SimpleNamespace")) + b"(N}X\1\0\0\0a" + system + b"(" + argument
        + b"tRstb.",
        "setstate-planted": b"\x80\x02" + encode(call("argparse", "Namespace")) + b"}X\x0c\0\0\0__setstate__" + system + b"sb"
        + argument + b"b.",
        "extension-registered": b"\x80\x02"
        + b"ccopyreg\nadd_extension\n(X\2\0\0\0osX\6\0\0\0systemJ\xf0\0\0\0tR0\x82\xf0(" + argument + b"tR.",
        "append-is-a-call": b"\x80\x02" + encode(call("types", "SimpleNamespace")) + b"}X\6\0\0\0append" + system
            + b"sb" + argument + b"a.",
        "framed": pickled(call("os", "system", shell), 4, frame=True),
        "python-2-name": b"c__builtin__\neval\n(" + encode(trap.source(name)) + b"tR.",
        "python-2-module": b"ccommands\ngetoutput\n(" + argument + b"tR.",
        "python-2-itertools": pickled(call("builtins", "list", call("itertools", "imap", Global("os", "system"), [shell]))),
        "protocol-nine-inside": b"\x80\x02\x80\x04" + encode(call("os", "system", shell), 4) + b".",
        "no-protocol": encode(call("os", "system", shell), 2) + b".",
        "key-is-a-call": b"\x80\x02}" + system + b"(" + argument + b"tRNs.",
    }  # fmt: skip


def _disguised(trap: Trap) -> Iterator[Hostile]:
    """Payloads in places that a reader of models has to look at."""
    for label, wrap in _WRAPPERS.items():
        name = f"inside-{label}.pkl"
        yield Hostile(
            kind=KIND, name=name, content=pickled(wrap(call("os", "system", trap.shell(name))), 4), runs="pickle"
        )


_WRAPPERS = {
    "a-state-dict": lambda bomb: {"main.0.weight": bomb},
    "a-snapshot": lambda bomb: {"G": None, "D": None, "G_ema": bomb, "training_set_kwargs": {}},
    "a-tuple-of-three": lambda bomb: (None, None, bomb),
    "an-ordered-dict": lambda bomb: call("collections", "OrderedDict", [("a", bomb)]),
    "a-key": lambda bomb: Opcodes(b"}" + encode(bomb, 4) + b"Ns"),
    "arguments": lambda bomb: {"args": Built(call("argparse", "Namespace"), {"size": bomb})},
    "a-dtype": lambda bomb: call("numpy", "dtype", bomb),
    "an-array-state": lambda bomb: Built(call("numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"),
        (0,), b"b"), bomb),
    "a-tensor": lambda bomb: call("torch._utils", "_rebuild_tensor_v2", bomb, 0, (1,), (1,), False, None),
    "a-size": lambda bomb: call("torch", "Size", bomb),
    "a-set": lambda bomb: call("builtins", "set", [bomb]),
    "ten-thousand-numbers": lambda bomb: [*range(10_000), bomb],
}  # fmt: skip

"""An interpreter of pickles that cannot run anything: it reads the opcodes itself and builds plain data and inert records.

No name in a file is ever looked up. The few names that make plain data are done again in `rebuild`; every other class or
function becomes a `Record` that says what was asked for. Opcodes that genuine files do not use are refused.
The format is that of Python's `pickletools`; protocols 2 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from studio.errors import Damaged
from studio.weights.foreign.contents import Record
from studio.weights.foreign.rebuild import (
    CALLS,
    LOAD_FROM_BYTES,
    MAX_OPERATIONS,
    NUMPY_ARRAYS,
    Attributes,
    Global,
    Reading,
    instance,
    key_of,
    numpy_array,
    refuse,
)

_LINE_BYTES = 300
_COPIED_BYTES = 4096
_STOP = ord(".")

Persistent = Callable[[object], object]
Nested = Callable[[memoryview], object]


def interpret(
    data: memoryview,
    start: int,
    reading: Reading,
    *,
    persistent: Persistent | None = None,
    nested: Nested | None = None,
) -> tuple[object, int]:
    """The object that the pickle at `start` describes, and the position behind it.

    Args:
        data: the file's bytes; long byte strings and all arrays of the result are views of it.
        reading: what the file has cost so far; raises when it is too much.
        persistent: what stands for a persistent id (storages in torch files); None refuses them.
        nested: reads the torch file within a byte string; None refuses it.

    Raises:
        BadInput: an opcode, a key or a name that no genuine file has, or too many of them.
        Damaged: it ends too soon.
    """
    machine = _Machine(data, start, reading, persistent, nested)
    return machine.run(), machine.position


class _Machine:
    """Stack, marks and memo of one pickle."""

    def __init__(
        self, data: memoryview, start: int, reading: Reading, persistent: Persistent | None, nested: Nested | None
    ) -> None:
        self.position = start
        self._data = data
        self._start = start
        self._reading = reading
        self._persistent = persistent
        self._nested = nested
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._unfilled: dict[int, list[int]] = {}

    def run(self) -> object:
        while True:
            self._reading.spend()
            code = self._unsigned(1)
            if code == _STOP:
                break
            handler = _HANDLERS.get(code)
            if handler is None:
                refuse(f"it uses the pickle instruction {code:#04x}, which no model needs")
            handler(self)
        result = self._pop()
        if self._stack or self._below:
            refuse("its pickle leaves things behind")
        return result

    # -------------------------------------------------------------- bytes

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self._data):
            raise cut_short()
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def _line(self) -> str:
        line, newline, _ = bytes(self._data[self.position : self.position + _LINE_BYTES]).partition(b"\n")
        if not newline:
            refuse("it uses a name that is far too long")
        self.position += len(line) + 1
        return _text(line)

    # -------------------------------------------------------------- stack

    def _pop(self) -> Any:
        if not self._stack:
            refuse("its pickle takes what is not there")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            refuse("its pickle takes what is not there")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        if not self._below:
            refuse("its pickle takes what is not there")
        items, self._stack = self._stack, self._below.pop()
        return items

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def pop_mark(self) -> None:
        self._pop_mark()

    # -------------------------------------------------------------- head and frames

    def protocol(self) -> None:
        if self.position != self._start + 1 or self._unsigned(1) > 5:
            refuse("its pickle is of an unknown protocol")

    def frame(self) -> None:
        if self._unsigned(8) > len(self._data) - self.position:
            raise cut_short()

    # -------------------------------------------------------------- plain values

    def push(self, value: object) -> None:
        self._stack.append(value)

    def unsigned(self, size: int) -> None:
        self._stack.append(self._unsigned(size))

    def signed(self) -> None:
        self._stack.append(int.from_bytes(self.take(4), "little", signed=True))

    def long(self) -> None:
        self._stack.append(int.from_bytes(self.take(self._unsigned(1)), "little", signed=True))

    def decimal(self) -> None:
        """Whole numbers of more than 32 bits as Python 2 wrote them; truth values too."""
        line = self._line()
        if line in ("00", "01"):
            self._stack.append(line == "01")
        elif len(line) <= 20 and line.removeprefix("-").isascii() and line.removeprefix("-").isdigit():
            self._stack.append(int(line))
        else:
            refuse("a number in it is none")

    def real(self) -> None:
        self._stack.append(struct.unpack(">d", self.take(8))[0])

    def text(self, size: int) -> None:
        content = self.take(self._unsigned(size))
        self._reading.spend_text(len(content))
        self._stack.append(_text(content))

    def content(self, size: int) -> None:
        """Short bytes as bytes, long ones as a view."""
        content = self.take(self._unsigned(size))
        self._stack.append(bytes(content) if len(content) <= _COPIED_BYTES else content)

    def old_text(self, size: int) -> None:
        """Python 2's str: text if it is ASCII, else bytes."""
        content = self.take(self._unsigned(size))
        self._reading.spend_text(len(content))
        try:
            self._stack.append(str(content, "ascii"))
        except UnicodeDecodeError:
            self._stack.append(bytes(content))

    # -------------------------------------------------------------- containers

    def small_tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._stack.append(tuple(reversed(items)))

    def marked_tuple(self) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def marked_list(self) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def marked_dictionary(self) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._fill(items)

    def marked_frozenset(self) -> None:
        items = self._pop_mark()
        self._stack.append({key_of(item) for item in items})

    def append(self) -> None:
        self._extend([self._pop()])

    def appends(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        container = self._top()
        if type(container) is not list:
            refuse("it adds to something that is no list")
        container.extend(items)

    def set_item(self) -> None:
        value = self._pop()
        self._fill([self._pop(), value])

    def set_items(self) -> None:
        self._fill(self._pop_mark())

    def _fill(self, items: list[Any]) -> None:
        container = self._top()
        if not isinstance(container, dict) or len(items) % 2:
            refuse("it puts entries into something that is no dictionary")
        for index in range(0, len(items), 2):
            container[key_of(items[index])] = items[index + 1]

    def add_items(self) -> None:
        items = self._pop_mark()
        container = self._top()
        if type(container) is not set:
            refuse("it adds to something that is no set")
        container.update(key_of(item) for item in items)

    # -------------------------------------------------------------- memo

    def put(self, size: int) -> None:
        self._remember(self._unsigned(size))

    def memoize(self) -> None:
        self._remember(len(self._memo))

    def _remember(self, index: int) -> None:
        if index > MAX_OPERATIONS:
            refuse("it numbers more objects than a model has")
        value = self._top()
        if type(value) is Record and value.name in NUMPY_ARRAYS:
            self._unfilled.setdefault(id(value), []).append(index)
        self._memo[index] = value

    def get(self, size: int) -> None:
        index = self._unsigned(size)
        if index not in self._memo:
            refuse("it speaks of an object that it does not hold")
        self._stack.append(self._memo[index])

    # -------------------------------------------------------------- names, calls, objects

    def global_line(self) -> None:
        module = self._line()
        self._stack.append(self._reading.named(module, self._line()))

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            refuse("it uses a name that is none")
        self._stack.append(self._reading.named(module, name))

    def reduce(self) -> None:
        target, arguments = self._called()
        if target.pair == LOAD_FROM_BYTES:
            self._stack.append(self._load_nested(arguments))
        elif target.pair in CALLS:
            self._stack.append(CALLS[target.pair](self._reading, arguments))
        else:
            self._stack.append(Record(name=target.name, arguments=arguments))

    def new_object(self) -> None:
        target, arguments = self._called()
        self._stack.append(instance(self._reading, target, arguments))

    def _called(self) -> tuple[Global, tuple[Any, ...]]:
        arguments, target = self._pop(), self._pop()
        if type(target) is not Global or type(arguments) is not tuple:
            refuse("it calls something that is no name")
        return target, arguments

    def _load_nested(self, arguments: tuple[Any, ...]) -> object:
        if self._nested is None or len(arguments) != 1 or not isinstance(arguments[0], (bytes, memoryview)):
            refuse("a storage in it has no bytes")
        return self._nested(memoryview(arguments[0]))

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Attributes):
            if not isinstance(state, dict):
                refuse("an object in it is filled with something else than attributes")
            self._reading.spend(len(state))
            target.update(state)
        elif type(target) is Record and not target.persistent and target.name in NUMPY_ARRAYS:
            self._replace_top(numpy_array(self._reading, state))
        elif type(target) is Record and not target.persistent:
            object.__setattr__(target, "state", state)
        elif type(target) is not dict:  # of an OrderedDict it sets attributes, which we do not keep
            refuse("it fills something that is no object")

    def _replace_top(self, array: np.ndarray) -> None:
        """Put a finished array where its record was: on the stack and in the memo."""
        record = self._stack.pop()
        self._stack.append(array)
        for index in self._unfilled.pop(id(record), ()):
            if self._memo[index] is record:
                self._memo[index] = array

    def persistent_id(self) -> None:
        if self._persistent is None:
            refuse("it speaks of things outside itself")
        self._stack.append(self._persistent(self._pop()))


def _text(content: bytes | memoryview) -> str:
    try:
        return str(content, "utf-8", "surrogatepass")
    except UnicodeDecodeError:
        refuse("a text in it is garbled")


def cut_short() -> Damaged:
    """The refusal of half a file."""
    return Damaged("This file ends too soon: it is only a part of a model.", "Download or copy it again.")


_Handler = Callable[[_Machine], None]


def _pushing(make: Callable[[], object]) -> _Handler:
    return lambda machine: machine.push(make())


def _sized(method: Callable[[_Machine, int], None], size: int) -> _Handler:
    return lambda machine: method(machine, size)


_HANDLERS: Mapping[int, _Handler] = {
    0x80: _Machine.protocol,
    0x95: _Machine.frame,
    ord("("): _Machine.mark,
    ord("0"): _Machine.pop,
    ord("1"): _Machine.pop_mark,
    ord("N"): _pushing(lambda: None),
    0x88: _pushing(lambda: True),
    0x89: _pushing(lambda: False),
    ord("K"): _sized(_Machine.unsigned, 1),
    ord("M"): _sized(_Machine.unsigned, 2),
    ord("J"): _Machine.signed,
    0x8A: _Machine.long,
    ord("I"): _Machine.decimal,
    ord("G"): _Machine.real,
    0x8C: _sized(_Machine.text, 1),
    ord("X"): _sized(_Machine.text, 4),
    0x8D: _sized(_Machine.text, 8),
    ord("U"): _sized(_Machine.old_text, 1),
    ord("T"): _sized(_Machine.old_text, 4),
    ord("C"): _sized(_Machine.content, 1),
    ord("B"): _sized(_Machine.content, 4),
    0x8E: _sized(_Machine.content, 8),
    0x96: _sized(_Machine.content, 8),
    ord(")"): _pushing(tuple),
    0x85: _sized(_Machine.small_tuple, 1),
    0x86: _sized(_Machine.small_tuple, 2),
    0x87: _sized(_Machine.small_tuple, 3),
    ord("t"): _Machine.marked_tuple,
    ord("]"): _pushing(list),
    ord("l"): _Machine.marked_list,
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("}"): _pushing(dict),
    ord("d"): _Machine.marked_dictionary,
    ord("s"): _Machine.set_item,
    ord("u"): _Machine.set_items,
    0x8F: _pushing(set),
    0x90: _Machine.add_items,
    0x91: _Machine.marked_frozenset,
    ord("q"): _sized(_Machine.put, 1),
    ord("r"): _sized(_Machine.put, 4),
    0x94: _Machine.memoize,
    ord("h"): _sized(_Machine.get, 1),
    ord("j"): _sized(_Machine.get, 4),
    ord("c"): _Machine.global_line,
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    0x81: _Machine.new_object,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent_id,
}

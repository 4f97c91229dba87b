"""Reads the loops of a compiled program from its HLO text.

XLA's cost analysis counts the body of a loop once, however often it runs.
https://openxla.org/xla/operation_semantics#while
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

_BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2,
    "f32": 4, "s32": 4, "u32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\))?)?")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?([\w.\-]+) = (\((?:[^()]|\([^()]*\))*\)|\S+) ([\w\-]+)\((.*)$"
)
_FREE = (
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call"
)  # fmt: skip


def count_loops(text: str) -> int:
    """Returns the number of `while` instructions."""
    return sum(opcode == "while" for _, lines in _computations(text) for _, _, opcode, _ in lines)


def repeated_bytes(text: str) -> int:
    """Returns the bytes that loop bodies read and write beyond the first time they run."""
    computations = dict(_computations(text))
    types = {name: kind for lines in computations.values() for name, kind, _, _ in lines}
    return sum(
        (repeats - 1) * _moved(line, types)
        for computation, repeats in _repeats(computations).items()
        for line in computations[computation]
    )


def _computations(text: str) -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """Yields names of computations and their instructions: name, type, opcode and the rest."""
    name, lines = "", []
    for line in text.splitlines():
        header = re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
        instruction = _INSTRUCTION.match(line)
        if header:
            name, lines = header[1], []
        elif instruction and name:
            lines.append(instruction.groups())
        elif line == "}" and name:
            yield name, lines
            name = ""


def _repeats(computations: dict[str, list]) -> dict[str, int]:
    """Returns how often each loop body runs, loops around it included."""
    repeats = {}
    loops = [
        (computation, rest)
        for computation, lines in computations.items()
        for _, _, opcode, rest in lines
        if opcode == "while"
    ]
    for _ in range(len(loops) + 1):  # an outer loop may stand after an inner one
        for computation, rest in loops:
            body = re.search(r"body=%?([\w.\-]+)", rest)[1]
            repeats[body] = _trips(rest, computations) * repeats.get(computation, 1)
    return repeats


def _trips(rest: str, computations: dict[str, list]) -> int:
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', rest)
    if known:
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", rest)[1]
    constants = [
        int(rest.partition(")")[0])
        for _, kind, opcode, rest in computations[condition]
        if opcode == "constant" and kind.startswith("s32[]")
    ]
    return max(constants, default=1)


def _moved(line: tuple[str, str, str, str], types: dict[str, str]) -> int:
    """Returns the bytes of an instruction's results and operands."""
    _, kind, opcode, rest = line
    if opcode in _FREE or opcode.endswith("-done"):
        return 0
    written = _size(kind)
    if opcode in ("dynamic-slice", "slice"):
        return 2 * written
    operands = re.findall(r"%([\w.\-]+)", rest.partition(")")[0])
    return written + sum(_size(types.get(operand, "")) for operand in operands)


def _size(kind: str) -> int:
    return sum(_padded(*match.groups()) for match in _SHAPE.finditer(kind) if match[1] in _BYTES)


def _padded(dtype: str, sizes: str, order: str | None, tile: str | None) -> int:
    """Returns the bytes of an array whose last axes are padded to whole tiles."""
    sizes = [int(size) for size in sizes.split(",") if size]
    order = [int(axis) for axis in order.split(",")] if order else range(len(sizes))[::-1]
    minor_first = [sizes[axis] for axis in order]
    for index, size in enumerate(reversed((tile or "").split(","))):
        if size and index < len(minor_first):
            minor_first[index] = -(-minor_first[index] // int(size)) * int(size)
    return _BYTES[dtype] * math.prod(minor_first)

"""What crosses between the processes of the sandbox: frames of JSON that hold plain values."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

MAX_FRAME = 1 << 21  # a program of 100,000 characters with every one of them escaped fits
SHOWN = 200  # characters of what a program gave that are kept for messages


class Ended(Exception):
    """The other side is gone, too slow, or talks nonsense."""


def tell(text: str) -> str:
    """What a program said of itself, as one short line that any file, page or terminal can hold; never empty."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * SHOWN])
    return " ".join(shown.split())[:SHOWN] or "said nothing"


def send(fd: int, value: Any, deadline: float | None = None) -> None:
    """Write one frame; `Ended` if the reader is gone or does not read in time."""
    content = json.dumps(value).encode()
    data = memoryview(struct.pack("<I", len(content)) + content)
    while data:
        if deadline is not None and not select.select([], [fd], [], max(0.0, deadline - time.monotonic()))[1]:
            raise Ended("timed out")
        try:
            data = data[os.write(fd, data[: select.PIPE_BUF]) :]
        except BrokenPipeError as gone:
            raise Ended("ended early") from gone


def receive(fd: int, deadline: float | None = None) -> Any:
    """Read one frame; `Ended` if the writer is gone, does not write in time or writes no frame."""
    (length,) = struct.unpack("<I", _read_exactly(fd, 4, deadline))
    if length > MAX_FRAME:
        raise Ended("answered too much")
    try:
        return json.loads(_read_exactly(fd, length, deadline))
    except (ValueError, RecursionError, MemoryError) as nonsense:
        raise Ended("answered nonsense") from nonsense


def _read_exactly(fd: int, length: int, deadline: float | None) -> bytes:
    data = b""
    while len(data) < length:
        if deadline is not None and not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise Ended("timed out")
        part = os.read(fd, length - len(data))
        if not part:
            raise Ended("ended early")
        data += part
    return data


_CONTAINERS: Mapping[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class NotPlain(TypeError):
    """A value that cannot cross between processes; only exact built-in types can, so that nothing of it is code."""


def pack(value: Any) -> Any:
    """A plain value as JSON."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [pack(item) for item in value]
    if kind.__name__ in _CONTAINERS and kind is _CONTAINERS[kind.__name__]:
        return {kind.__name__: [pack(item) for item in value]}
    if kind is dict:
        return {"dict": [[pack(key), pack(item)] for key, item in value.items()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    raise NotPlain(f"{kind.__name__} is no plain value")


def unpack(value: Any) -> Any:
    """The plain value that `pack` wrote."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {unpack(key): unpack(item) for key, item in content}
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    return _CONTAINERS[kind](unpack(item) for item in content)

"""Loading of ONNX networks from untrusted files; a network must be complete in its own file.

An ONNX file may name other files for its tensors. No checksum of the ONNX file covers these, and they need not hold
tensors at all. So the file is searched for such names before ONNX Runtime reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thcli.errors import WeightsError
from thcli.threads import usable_cores

if TYPE_CHECKING:
    import onnxruntime

_TENSOR_ELSEWHERE = {13: "external_data", 14: "data_location"}
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": _TENSOR_ELSEWHERE,
}
"""Field numbers of each message of onnx.proto under which tensors may be stored, and the message they hold."""


def open_network(path: Path, use: str, threads: int | None = None, arena: bool = True) -> onnxruntime.InferenceSession:
    """Open the network of a file on the CPU.

    use: what the network is used by, for the error message
    threads: number of threads that it runs on; None for one on each usable core
    arena: whether it keeps its memory from call to call, which networks that run for every frame need for their speed

    Raises WeightsError for a file that is no network or keeps tensors in other files.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    options.intra_op_num_threads = threads or usable_cores()
    # PyTorch runs between its calls; threads that spin while they wait take cores from it and from other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = path.read_bytes()
        elsewhere = refers_elsewhere(content)
        if not elsewhere:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: not a network of {use} ({reason}); get the file again") from error
    raise WeightsError(f"{path}: keeps tensors in other files, which thgen does not read; export it as one file")


def refers_elsewhere(content: bytes) -> bool:
    """Return whether an ONNX model names other files for its tensors. Raises ValueError for bytes of anything else."""
    try:
        return _refers(memoryview(content), "model")
    except (IndexError, RecursionError) as error:
        raise ValueError("no ONNX model, or a damaged one") from error


def _refers(message: memoryview, kind: str) -> bool:
    """Whether a message of onnx.proto names other files for its tensors; ``kind`` is a key of ``_INSIDE``."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            if kind == "tensor" and number == 14 and value:
                return True
            continue
        if wire not in (1, 2, 5):
            raise IndexError("groups, which onnx.proto has none of")
        length, at = _varint(message, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + length > len(message):
            raise IndexError("longer than what it is in")
        inside = _INSIDE[kind].get(number)
        if wire == 2 and inside and (kind == "tensor" or _refers(message[at : at + length], inside)):
            return True
        at += length
    return False


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read the variable-length integer at an offset; return its value and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("a number of more than 64 bits")

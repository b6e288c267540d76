"""llama.cpp itself, out of the library in the wheel `xllamacpp`: a model's logits under a control vector."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.export.llama_cpp import library

_Pointer = ctypes.c_void_p


class _Parameters(ctypes.Structure):
    """Parameters of a model or a context: longer than either is, and only handed on as they come."""

    _fields_ = (("bytes", ctypes.c_int32 * 256),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_model_default_params": (_Parameters, []),
    "llama_context_default_params": (_Parameters, []),
    "llama_model_load_from_file": (_Pointer, [ctypes.c_char_p, _Parameters]),
    "llama_init_from_model": (_Pointer, [_Pointer, _Parameters]),
    "llama_batch_init": (_Batch, [ctypes.c_int32] * 3),
    "llama_batch_free": (None, [_Batch]),
    "llama_decode": (ctypes.c_int32, [_Pointer, _Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [_Pointer, ctypes.c_int32]),
    "llama_get_memory": (_Pointer, [_Pointer]),
    "llama_memory_clear": (None, [_Pointer, ctypes.c_bool]),
    "llama_set_adapter_cvec": (ctypes.c_int32, [_Pointer, _Pointer, ctypes.c_size_t, *[ctypes.c_int32] * 3]),
    "llama_model_get_vocab": (_Pointer, [_Pointer]),
    "llama_vocab_n_tokens": (ctypes.c_int32, [_Pointer]),
    "llama_set_n_threads": (None, [_Pointer, ctypes.c_int32, ctypes.c_int32]),
    "llama_free": (None, [_Pointer]),
    "llama_model_free": (None, [_Pointer]),
}
_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, _Pointer)
_quiet = _LOG(lambda *_: None)


class LlamaCpp:
    """A model of llama.cpp's, with 512 tokens of context; `logits` are under the control vector that was set last."""

    def __init__(self, path: Path) -> None:
        self._c: Any = ctypes.CDLL(str(library()))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self._c, name)
            function.restype, function.argtypes = result, arguments
        self._c.llama_log_set.argtypes, self._c.llama_log_set.restype = [_LOG, _Pointer], None
        self._c.llama_log_set(_quiet, None)
        self._c.llama_backend_init()
        self._model = self._c.llama_model_load_from_file(str(path).encode(), self._c.llama_model_default_params())
        assert self._model, "llama.cpp cannot read the model"
        self._context = self._c.llama_init_from_model(self._model, self._c.llama_context_default_params())
        self._c.llama_set_n_threads(self._context, 1, 1)  # its threads wait in loops, where others compute beside it
        self._n_tokens = self._c.llama_vocab_n_tokens(self._c.llama_model_get_vocab(self._model))

    def steer(self, vectors: np.ndarray | None) -> None:
        """Add [n_layers, d_model] to the outputs of blocks 1, 2, …, as `--control-vector` does; nothing with None."""
        if vectors is None:
            assert self._c.llama_set_adapter_cvec(self._context, None, 0, 0, 0, 0) == 0
            return
        data = np.ascontiguousarray(vectors, np.float32)
        pointer = data.ctypes.data_as(_Pointer)
        assert self._c.llama_set_adapter_cvec(self._context, pointer, data.size, data.shape[1], 1, len(data)) == 0

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """[n_tokens, vocabulary] of one text."""
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), True)
        batch = self._c.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for at, token in enumerate(ids):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = int(token), at, 1, 1
            batch.seq_id[at][0] = 0
        assert self._c.llama_decode(self._context, batch) == 0
        rows = [self._c.llama_get_logits_ith(self._context, at) for at in range(len(ids))]
        found = np.stack([np.ctypeslib.as_array(row, (self._n_tokens,)).copy() for row in rows])
        self._c.llama_batch_free(batch)
        return found

    def close(self) -> None:
        self._c.llama_free(self._context)
        self._c.llama_model_free(self._model)


def in_float32(path: Path, out: Path) -> Path:
    """A GGUF file with its weights in float32: the numbers that transformers reads from it."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    left = ("general.architecture", "general.file_type", "general.quantization_version")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in left:
            continue
        kind = field.types[0]
        of = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=of)
    writer.add_file_type(0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out

"""llama.cpp's own loader of control vectors, out of the library in the wheel `xllamacpp` (Linux, x86-64)."""

import ctypes
import platform
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

WHEEL = "xllamacpp==2026.10.11549"
LOADER = "_Z26common_control_vector_loadRKSt6vectorI31common_control_vector_load_infoSaIS0_EE"
"""`common_control_vector_data common_control_vector_load(const std::vector<common_control_vector_load_info> &)`."""


class _Info(ctypes.Structure):
    """A std::string of manylinux2014 is one pointer, to characters whose length, room and owners stand before them."""

    _fields_ = (("strength", ctypes.c_float), ("name", ctypes.c_void_p))


class _Vector(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("room", ctypes.c_void_p))


class _Data(ctypes.Structure):
    _fields_ = (("n_embd", ctypes.c_int), ("data", _Vector))


def loaded_by_llama_cpp(path: Path, strength: float) -> np.ndarray:
    """[n_layers, d_model] what llama.cpp adds to the outputs of blocks 1, 2, …; skips the test where there is none."""
    load = getattr(ctypes.CDLL(str(library())), LOADER)
    load.restype, load.argtypes = None, (ctypes.POINTER(_Data), ctypes.POINTER(_Vector))
    name = str(path).encode()
    text = ctypes.create_string_buffer(struct.pack("qqq", len(name), len(name), 0) + name)
    info = _Info(strength, ctypes.addressof(text) + 24)
    begin = ctypes.addressof(info)
    found = _Data()
    load(found, _Vector(begin, begin + ctypes.sizeof(info), begin + ctypes.sizeof(info)))
    assert found.n_embd > 0, "llama.cpp cannot read the file"
    count = (found.data.end - found.data.begin) // 4
    values = np.ctypeslib.as_array((ctypes.c_float * count).from_address(found.data.begin)).copy()
    return values.reshape(-1, found.n_embd)


def library() -> Path:
    """The shared library, of a wheel that is downloaded once."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the layout of C++ objects is known of Linux on x86-64")
    folder = Path.home() / ".cache" / "actkit-tests" / WHEEL
    if not folder.exists():
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        wheel = next(folder.glob("*.whl"), None)
        if done.returncode or wheel is None:
            folder.rmdir()
            pytest.skip(f"{WHEEL} cannot be had: {done.stderr.strip()[-200:]}")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder)
    return next(folder.rglob("xllamacpp*.so"))

"""What files and folders of arrays are by their content, and their arrays by name: never by a pickle."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np

from linsim.errors import InvalidInput, require
from linsim.monitoring.stored import orbax_trees
from linsim.monitoring.stored.named_trees import nested
from linsim.storage.archives import require_room, unpacked
from linsim.storage.plain import read_json

Form = Literal["orbax", "safetensors", "npz"]

ALLOWED = "a whole checkpoint in orbax, safetensors or npz"
INDEX = ".safetensors.index.json"

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")
_PICKLE = "which is never read: that would run its code; safetensors.torch.save_file keeps the same arrays"

_OF_BYTES = {"|V2": ml_dtypes.bfloat16, "<V2": ml_dtypes.bfloat16, "<f1": ml_dtypes.float8_e5m2}
"""What NumPy writes of kinds that are not its own; of one byte only this is certain."""
_OTHERS = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": ml_dtypes.bfloat16, "BOOL": "?"}
_OTHERS |= {f"{sign}{8 * size}": f"{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)}
_EIGHT_BITS = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}
"""What safetensors calls kinds for which its reader asks NumPy in vain."""


class Foreign(InvalidInput):
    """Something other than a checkpoint."""


def form_of(path: Path) -> Form:
    """What a checkpoint is by its content, of which only the beginning is read.

    Raises:
      Foreign: another kind of file or folder.
      InvalidInput: a checkpoint that is not whole.
    """
    name = path.name
    try:
        if path.is_dir():
            return _form_of_folder(path)
        require(path.is_file(), name, "neither a file nor a folder", ALLOWED)
        with path.open("rb") as file:
            first = file.read(9)
        if first.startswith(b"PK\x03\x04"):
            return _form_of_zip(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InvalidInput(name, f"not readable ({reason(error)})", ALLOWED) from error
    if first[8:] == b"{" or name.endswith(".safetensors"):
        return "safetensors"
    if first[:1] == b"\x80" or path.suffix in _PICKLES:
        raise Foreign(name, f"a pickle, {_PICKLE}", ALLOWED)
    kind = InvalidInput if name.endswith(".npz") else Foreign
    raise kind(name, "some other file" if first else "an empty file", ALLOWED)


def is_one_checkpoint(folder: Path) -> bool:
    """Whether a folder is a single checkpoint, and not one of several."""
    return any((folder / name).exists() for name in (*orbax_trees.MARKS, "model.safetensors", f"model{INDEX}"))


def arrays_of(path: Path, form: Form) -> Any:
    """What a checkpoint holds: a tree of orbax, or nested dicts; whatever the formats' libraries raise goes through."""
    if form == "orbax":
        return orbax_trees.read(path)
    flat: dict[str, Any] = {}
    listed, files = weights_in(path) if path.is_dir() else ({}, [path])
    require_room(sum(unpacked(file) if form == "npz" else file.stat().st_size for file in files))
    for file in files:
        found = _read_npz(file) if form == "npz" else _read_safetensors(file)
        wrong = {name for name, shard in listed.items() if shard == file.name} ^ set(found) if listed else set()
        require(not wrong, file.name, f"other arrays than its index says: {sorted(wrong)[:3]}", ALLOWED)
        flat |= found
    return nested(flat)


def weights_in(folder: Path) -> tuple[dict[str, str], list[Path]]:
    """The files that hold the arrays of a checkpoint that is a folder, as of Hugging Face, and which array is in which.

    That are the shards of an index, or the only file of safetensors or npz, or model.safetensors among several. Without
    an index nothing is said of which array is where.
    """
    name, indices = folder.name, sorted(folder.glob(f"*{INDEX}"))
    single = sorted(
        path for path in folder.iterdir() if path.suffix in (".safetensors", ".npz") and path.name[0] != "."
    )
    if not indices:
        shards = [path.name for path in single if "-of-" in path.name]
        require(not shards, name, f"shards without their index: {shards[:2]}", f"a file *{INDEX} beside them")
        single = [path for path in single if len(single) == 1 or path.name == "model.safetensors"] or single
        require(len(single) == 1, name, [path.name for path in single], "one file of weights, or shards with an index")
        return {}, single
    whole = [path.name for path in single if path.name == indices[0].name.removesuffix(".index.json")]
    require(len(indices) == 1 and not whole, name, [*(path.name for path in indices), *whole], "one set of weights")
    listed = _listed(indices[0])
    files = [folder / shard for shard in sorted(set(listed.values()))]
    for file in files:
        require(file.is_file(), name, f"no {file.name}", f"all shards that {indices[0].name} names")
    return listed, files


def _listed(index: Path) -> dict[str, str]:
    """Names of arrays and of the files that they are in."""
    try:
        told = read_json(index)
    except ValueError as error:
        raise InvalidInput(index.name, f"not readable ({reason(error)})", ALLOWED) from error
    listed = told.get("weight_map") if isinstance(told, dict) else None
    if (
        isinstance(listed, dict)
        and listed
        and all(isinstance(each, str) and "/" not in each for each in listed.values())
    ):
        return listed
    raise InvalidInput(index.name, "no weight_map of names and files", ALLOWED)


def _form_of_folder(path: Path) -> Form:
    if orbax_trees.is_whole(path):
        return "orbax"
    require(not orbax_trees.is_begun(path), path.name, "a half-written save of orbax", ALLOWED)
    names = [each.name for each in path.iterdir()]
    if any(name.endswith((INDEX, ".safetensors")) for name in names):
        weights_in(path)
        return "safetensors"
    if any(name.endswith(".npz") for name in names):
        weights_in(path)
        return "npz"
    pickled = [name for name in names if name.endswith(_PICKLES)]
    raise Foreign(path.name, f"pickles, {_PICKLE}" if pickled else "some other folder", ALLOWED)


def _form_of_zip(path: Path) -> Form:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(".pkl") for name in names):
        raise Foreign(path.name, f"a pickle of PyTorch, {_PICKLE}", ALLOWED)
    if not names or not all(name.endswith(".npy") for name in names):
        kind = InvalidInput if path.suffix == ".npz" else Foreign
        raise kind(path.name, "a zip archive of something other than arrays", ALLOWED)
    return "npz"


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import deserialize, safe_open
    from safetensors.numpy import load_file

    with safe_open(path, framework="np") as file:
        kinds = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    if not set(kinds.values()) & set(_EIGHT_BITS):
        return dict(load_file(path))
    arrays = {}
    for name, told in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
        kind = _EIGHT_BITS.get(told["dtype"]) or _OTHERS.get(told["dtype"])
        require(kind is not None, name, told["dtype"], f"one of {', '.join([*_OTHERS, *_EIGHT_BITS])}")
        arrays[name] = np.frombuffer(told["data"], kind).reshape(told["shape"])
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of NumPy, and of the kinds that it writes as bytes without saying which."""
    arrays = {}
    with np.load(path, allow_pickle=False) as archive:  # arrays of objects are pickles
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except ValueError:  # NumPy does not read all that it writes
                with zipfile.ZipFile(path) as members, members.open(f"{name}.npy") as member:
                    array = _read_foreign_kind(member)
                if array is None:
                    raise
                arrays[name] = array
    for name, array in arrays.items():
        require(isinstance(array, np.ndarray), name, "no array of NumPy", ALLOWED)
        if array.dtype.kind == "V":
            written = array.dtype.str
            kind = _OF_BYTES.get(written)
            lost = f"bytes of a kind that NumPy did not keep ({written})"
            require(kind is not None, name, lost, "numbers of NumPy or bfloat16; safetensors keeps other kinds")
            arrays[name] = array.view(kind)
    return arrays


def _read_foreign_kind(member: Any) -> np.ndarray | None:
    """An array in the format of NumPy whose kind NumPy itself cannot name; None of any other."""
    version = np.lib.format.read_magic(member)
    length = int.from_bytes(member.read(2 if version[0] == 1 else 4), "little")
    header = ast.literal_eval(member.read(length).decode("latin1"))
    if (kind := _OF_BYTES.get(header["descr"])) is None:
        return None
    array = np.frombuffer(member.read(), kind)
    return array.reshape(header["shape"][::-1]).T if header["fortran_order"] else array.reshape(header["shape"])


def reason(error: Exception) -> str:
    """Why a library could not read."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:200]

"""Arrays in a page: float32, bytes of one significance together, deflated, in base64; browsers undo all of it alone."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array as `data.js` unpacks it; flags take a byte, of numbers seven digits are left.

    Args:
      values: numbers, NaN and infinities among them, or flags.
    """
    flags = values.dtype.kind == "b"
    with np.errstate(over="ignore"):  # what is beyond 3e38 is infinite
        plain = np.ascontiguousarray(values, np.uint8 if flags else np.dtype("<f4"))
    planes = plain.view(np.uint8).reshape(-1, plain.itemsize).T.tobytes()
    text = base64.b64encode(zlib.compress(planes, 6)).decode("ascii")
    return {"shape": list(values.shape), "kind": "flag" if flags else "number", "packed": text}


def as_script(value: Any) -> str:
    """JSON that cannot end the element it stands in, whatever words a result holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

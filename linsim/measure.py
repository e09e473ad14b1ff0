"""A measure as a value: what is to be told of every checkpoint, of every fine-tuned lane, or along fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from linsim.errors import listed, require, require_callable, require_choice, require_kind
from linsim.labels import PLAIN, Label, label_of

At = Literal["checkpoint", "tuned", "along"]
PLACES: tuple[At, ...] = get_args(At)


@dataclass(frozen=True, eq=False, repr=False)
class Measure:
    """A pure function of what is seen at a place, with its name, dimensions and units.

    It is mapped over lanes, cut into chunks, kept, resumed, sent to a cluster and computed again exactly as losses are.
    `of` is compiled once for each measure: make a measure once, not in a loop.

    Example:
      >>> import jax.numpy as jnp
      >>> size = Measure("size", long_name="squared size of the product", units="squared output",
      ...                of=lambda seen: jnp.sum(seen.product**2))
      >>> size
      Measure('size' at tuned, in squared output)

    Raises:
      InvalidInput: a name that is no word, a place that is none of the three, `of` that cannot be called, coordinates
        of other dimensions than its own.
    """

    name: str
    """Of the variable in the result."""
    _: KW_ONLY
    of: Callable[[Any], Any]
    """What is seen there (`linsim.dynamics.seen.Seen`) -> an array of real numbers over `dims`, by JAX's operations."""
    dims: tuple[str, ...] = ()
    """Dimensions of one value, behind those of the sweep; measures that share a name there share its length."""
    long_name: str = ""
    """In words, as axes of pictures are called; default that of `linsim.labels`, or the name."""
    units: str = ""
    """Of a value; default those of `linsim.labels`, or none."""
    at: At = "tuned"
    """Where it is taken: at every checkpoint, at every fine-tuned lane, or at points along fine-tuning, which are an
    axis `finetune_steps`."""
    coords: Mapping[str, Any] = field(default_factory=dict)
    """Values of its dimensions, by name; a dimension without any is counted from 0."""
    up_to_rotation: bool = False
    """Whether it is the same for weights whose hidden layers are rotated, which is all that some solvers know."""

    def __post_init__(self) -> None:
        require(isinstance(self.name, str) and self.name.isidentifier(), "measure", self.name, "a name of one word")
        field_of = f"measure {self.name}"
        require_callable(f"{field_of}.of", self.of, "a function of what is seen")
        require_choice(f"{field_of}.at", self.at, PLACES)
        for words in ("long_name", "units"):
            require_kind(f"{field_of}.{words}", getattr(self, words), str, "a text")
        require_kind(f"{field_of}.up_to_rotation", self.up_to_rotation, bool)
        named = isinstance(self.dims, list | tuple) and all(isinstance(dim, str) and dim for dim in self.dims)
        require(named and len(set(self.dims)) == len(self.dims), f"{field_of}.dims", self.dims, "names, each once")
        object.__setattr__(self, "dims", tuple(self.dims))
        require(isinstance(self.coords, Mapping), f"{field_of}.coords", self.coords, "name -> values")
        foreign = sorted(set(self.coords) - set(self.dims))
        require(not foreign, f"{field_of}.coords", foreign, f"coordinates of its dims {self.dims}")
        allowed = "a list of values for each dimension"
        coords = {
            dim: values if isinstance(values, np.ndarray) else np.asarray(listed(f"{field_of}.coords", values, allowed))
            for dim, values in self.coords.items()
        }
        flat = all(values.ndim == 1 for values in coords.values())
        require(flat, f"{field_of}.coords", self.coords, allowed)
        object.__setattr__(self, "coords", coords)

    def __repr__(self) -> str:
        over = f" over {', '.join(self.dims)}" if self.dims else ""
        return f"Measure({self.name!r} at {self.at}{over}, in {self.attrs.get('units', PLAIN)})"

    @property
    def attrs(self) -> dict[str, str]:
        """Long name and units, as attributes of the variable."""
        known = label_of(self.name) or Label(self.name.replace("_", " "), PLAIN)
        return Label(self.long_name or known.long_name, self.units or known.units).attrs

    def taken(self, at: At, name: str | None = None) -> Measure:
        """The same measure at another place, called `name` there."""
        return replace(self, at=at, name=self.name if name is None else name)

    def identity(self) -> dict[str, Any]:
        """All that decides its values, for fingerprints."""
        return {"at": self.at, "dims": list(self.dims), "coords": self.coords, "of": self.of}


def lengths_of(measures: Iterable[Measure], shapes: Mapping[str, Any], known: Mapping[str, int]) -> dict[str, int]:
    """Lengths of all dimensions, those that are known and those of measures.

    Args:
      measures: each with a shape of one of its values in `shapes`, by name.
      shapes: whatever has a `shape`.
      known: lengths of dimensions that are not of measures; these have no coordinates.

    Raises:
      InvalidInput: a dimension of two lengths, or of other coordinates elsewhere.
    """
    lengths, coords = dict(known), dict[str, Any].fromkeys(known, ())
    for measure in measures:
        named = f"measure {measure.name}"
        for dim, length in zip(measure.dims, shapes[measure.name].shape, strict=True):
            other = lengths.setdefault(dim, length)
            require(other == length, named, f"{length} along {dim}", f"{other}, as along {dim} of another variable")
            values = measure.coords.get(dim, ())
            same = np.array_equal(coords.setdefault(dim, values), values)
            require(same, f"{named}.coords", values, f"the coordinates of {dim} elsewhere: {coords[dim]}")
    return lengths


def placed(measure: Measure, place: str, text: str, form: str) -> Measure:
    """A measure with what a text says after its @: PLACE, or PLACE=CALLED; as it is where there is nothing.

    Raises:
      InvalidInput: no such place, or no name.
    """
    if not place:
        return measure
    at, renamed, called = place.partition("=")
    require(at in PLACES, "measure", text, f"{form}, a place among {', '.join(PLACES)}")
    require(not renamed or called.isidentifier(), "measure", text, f"{form}, called by one word")
    return measure.taken(at, called or None)  # type: ignore[arg-type] # one of the places


def named_once(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """Measures as a tuple; `InvalidInput` for what is none, or a name that two of them have."""
    several = isinstance(measures, Iterable) and not isinstance(measures, str) and not hasattr(measures, "dtype")
    require(several or isinstance(measures, Measure), "measures", measures, "values of linsim.Measure")
    found = (measures,) if isinstance(measures, Measure) else tuple(measures)
    names: set[str] = set()
    for measure in found:
        require(isinstance(measure, Measure), "measures", measure, "values of linsim.Measure")
        require(measure.name not in names, "measures", measure.name, "every name once")
        names.add(measure.name)
    return found

"""The run-time checker of annotations under pytest --shapes: beartype, which takes an int for a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""What was measured: the rows of each benchmark that comes with the pages, under the processor it ran on."""

import ast
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

BAR, ESCAPED = "|", "\\|"

PREFACE = """\
# Benchmarks

Peers take turns in one process, and what they compute is compared before their times are. **Ratios above 1: linsim is
faster**; they are medians over rounds, with the quartiles beside them. The first is of the wall's time with all cores,
the second of the processor's on one core, which other work on the machine hardly touches. A peer that was at work for a
small share of the cores' time had threads that waited. Only ratios mean anything on another machine.

```console
python -m benchmarks.gram --json FILE
```

writes its rows; such a file in `docs/measured/PROCESSOR/`, beside a `machine.json`, is a section here. PyTorch and
Numba come with `pip install -e '.[bench]'`."""


def pages(measured: Path) -> Mapping[str, str]:
    """The one page."""
    parts = [PREFACE]
    for machine in sorted(measured.glob("*/machine.json")):
        where = json.loads(machine.read_text(encoding="utf-8"))
        parts.append(f"## {where['processor']}\n\n{where['cores']} cores, jax {where['jax']}, {where['measured']}.")
        for file in sorted(machine.parent.glob("*.json")):
            if file != machine:
                parts.append(_section(file.stem, json.loads(file.read_text(encoding="utf-8"))))
    return {"benchmarks.md": "\n\n".join(parts) + "\n"}


def _section(name: str, rows: list[Mapping[str, object]]) -> str:
    source = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(source)) or ""  # not imported: some need what only the extra bench brings
    question, _, rest = told.partition("\n")
    command, _, details = textwrap.dedent(rest).strip().partition("\n\n")
    head = "| race | ratio | quartiles | on one core | peer at work | linsim | peer | |"
    table = [head, "|---|--:|--:|--:|--:|--:|--:|---|", *map(_row, rows)]
    return "\n\n".join([f"### {name}", question, f"```console\n{command}\n```", details, "\n".join(table)])


def _row(row: Mapping[str, object]) -> str:
    unit = row["unit"]
    speeds = (f"{row[who]:.3g} {unit}/s" for who in ("ours", "peer"))
    pinned = row.get("cpu_ratio") is not None and row.get("busy") is None  # then no wall was looked at
    ratio = "" if pinned else f"{row['ratio']:.3g}"
    ratios = ratio, f"{row['low']:.3g} to {row['high']:.3g}", _told(row.get("cpu_ratio"), "{:.3g}")
    cells = row["name"], *ratios, _told(row.get("busy"), "{:.0%}"), *speeds, row["note"]
    return f"| {' | '.join(str(cell).replace(BAR, ESCAPED) for cell in cells)} |"


def _told(value: object, form: str) -> str:
    return "" if value is None else form.format(value)

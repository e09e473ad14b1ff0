"""Benchmarks run; what they time is nobody's test."""

import importlib
import json
import math

import pytest

from benchmarks import ranks
from linsim.monitoring.measuring import MEASURES

# Module -> what it races against that is no requirement of linsim; the extra `bench` brings it.
PEERS = {"dense": "torch", "gram": None, "flow": "diffrax", "scaling": None, "kernels": None, "monitor_costs": None}


FLOW = pytest.param("flow", marks=pytest.mark.thorough("by the other benchmarks; it integrates for a minute"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", [FLOW if name == "flow" else name for name in PEERS])
def test_a_benchmark_runs_and_its_rows_are_json(name, tmp_path):
    if (peer := PEERS[name]) is not None:
        pytest.importorskip(peer, reason=f"{peer}, the peer of this benchmark, is not installed: pip install .[bench]")
    module = importlib.import_module(f"benchmarks.{name}")
    told = tmp_path / "rows.json"
    assert module.main(module.rows, module.__doc__, ["--quick", "--json", str(told)]) == 0
    rows = json.loads(told.read_text())
    assert len({row["name"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert all(math.isfinite(row[speed]) and row[speed] > 0 for speed in ("work", "ours", "peer", "ratio"))
        assert row["low"] <= row["ratio"] <= row["high"] and row["note"]
    if name == "monitor_costs":
        assert {row["name"].partition(":")[0] for row in rows} == set(MEASURES)


def test_ranks_are_held_against_the_closed_form(capsys, monkeypatch):
    assert ranks.main(["--modes", "24", "--gram", "12"]) == 0
    _, modes, gram = capsys.readouterr().out.splitlines()
    assert modes.split()[:2] == ["modes", "24"]
    assert float(gram.split()[-1]) < 4 * ranks.RATE
    monkeypatch.setattr(ranks, "loss", lambda law, sizes, times: 1.0)  # whatever is no loss of the law
    assert ranks.main(["--modes", "--gram", "12"]) == 1

"""What `linsim doctor` tells of an installation, and its check against numbers that are known."""

import jax
import numpy as np
import pytest

from experiments.command import doctor


def test_the_known_losses_are_those_of_plain_steps_in_numpy():
    first, second, losses = np.diag([2, 1, 2 / 3]), np.diag([2, 4, 8 / 3]), []
    for steps in (50, 200):
        for rate in (0.005, 0.02):
            inner = outer = np.exp(-2.0) * np.eye(3)
            for target, eta, count in ((first, 0.01, steps), (second, rate, 20)):
                for _ in range(count):
                    error = 2 * (outer @ inner - target)
                    inner, outer = inner - eta * outer.T @ error, outer - eta * error @ inner.T
            losses.append(np.sum((outer @ inner - first) ** 2))
    np.testing.assert_allclose(doctor._KNOWN, losses, rtol=1e-14)  # hundreds of roundings of 1e-16 that mostly cancel


@pytest.mark.parametrize(("factor", "status", "said"), [(1, 0, "4 losses as they"), (1 + 1e-9, 4, "DO NOT TRUST")])
def test_the_check_tells_right_numbers_from_wrong_ones(monkeypatch, capsys, factor, status, said):
    monkeypatch.setattr(doctor, "_KNOWN", tuple(known * factor for known in doctor._KNOWN))
    assert doctor.main([]) == status
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(told) == [
        *("linsim", "python", "packages", "revision", "devices", "processor", "memory", "cache", "check")
    ]
    assert said in told["check"]
    assert f"jax {jax.__version__}" in told["packages"]


def test_the_cache_is_told_also_where_it_is_none(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        (tmp_path / "program").write_bytes(b"0" * 2**20)
        assert doctor._cache() == f"{tmp_path}, 1 files, 1.0 MB"
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "program"))
        assert "cannot be read (Not a directory)" in doctor._cache()
        jax.config.update("jax_compilation_cache_dir", None)
        assert doctor._cache().startswith("none")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)

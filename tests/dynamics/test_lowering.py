"""Every solver is a program for every kind of device, whichever are at hand."""

import jax
import numpy as np
import pytest

from linsim.dynamics.choosing import SOLVERS
from linsim.phase import Phase
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

PLATFORMS = ("cpu", "cuda", "tpu")
PHASE = Phase(0.01, product_penalty=0.1)
PROBLEMS = {
    "Modes": aligned_problem(3, finetune=PHASE),
    "FlowModes": aligned_problem(2, finetune=PHASE),
    "FlowLayer": gaussian_problem(1, finetune=PHASE),
    "FlowMatrices": balanced_problem(finetune=PHASE),
}


def program(solver, problem, dtype):
    """All of a phase, from states to losses, mapped over lanes; and what it is given."""
    encoded, phase = solver.encode(problem, dtype), problem.finetune.as_dtype(dtype)

    def lane(state, rate, steps):
        carry = solver.begin(state, phase.put({"learning_rate": rate}))
        carry = solver.advance(carry, encoded.finetune, phase.put({"learning_rate": rate}), steps, None)
        return solver.loss(solver.state(carry), encoded.pretrain), solver.learned(solver.state(carry), encoded.pretrain)

    return jax.jit(jax.vmap(lane, (0, 0, None))), (encoded.initial, np.full(problem.seeds, 0.01, dtype), np.int32(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_every_solver_lowers_for_cpus_gpus_and_tpus(solver, dtype):
    problem = PROBLEMS.get(type(solver).__name__, gaussian_problem(finetune=PHASE))
    assert solver.refusal(problem) is None
    run, given = program(solver, problem, dtype)
    exported = jax.export.export(run, platforms=PLATFORMS)(*given)
    assert exported.platforms == PLATFORMS and len(exported.out_avals) == 2


@pytest.mark.parametrize("name", ["Dense", "Gram"])
def test_products_are_never_rounded_to_fewer_bits(name):
    solver = next(each for each in SOLVERS if type(each).__name__ == name)
    run, given = program(solver, gaussian_problem(finetune=PHASE), np.float32)
    text = jax.export.export(run, platforms=("cuda",))(*given).mlir_module()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)

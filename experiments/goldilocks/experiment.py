"""Model size, budget and data: is there a Goldilocks zone between compute-optimal and over-trained?

    python -m experiments.goldilocks --out DIR

trains models of every size N on tasks whose strengths fall as i^-a, and on the spectrum of handwritten digits, and asks
of every row of the usual account what comes out where the truth is known: compute-optimal at one ratio of data and
parameters, best for its use at 5 to 20 times that, brittle above 50 times, smaller models more so, a Fisher trace that
spikes. Ratios are relative to compute-optimal: 20 : 1 means nothing in flow time. The use is told by a utility U =
L_pre + u L_ft after fine-tuning, for several u, and the reason to over-train by a cost N D + q N. Modes of aligned
networks tell all sizes at once; networks of matrices from Gaussian starts stand beside them, with rounding and with
samples that are seen again and again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import PLAIN, SQUARED, STRENGTH, Label, label, texts
from linsim.progress.showing import Progress
from linsim.sweeping.along import part_of
from linsim.theory.scaling.laws import loss
from linsim.theory.scaling.noise import turning_constant
from linsim.theory.scaling.optimal import exponents
from linsim.theory.scaling.tails import tuned_tail

from ..experiment import Experiment
from . import matrices, modes, optima, spectra
from .config import CLAIMS, Config, check
from .finding import find, table
from .fitting import fitted
from .modes import Models
from .turning import turned, turned_matrices

_TIME = "flow time"
LABELS = {
    "task": Label("spectrum of the task"),
    "size": Label("N, modes that a model can learn", PLAIN),
    "flow_time": Label("D, learning rate x steps of pre-training", _TIME),
    "matrix_flow_time": Label("D of networks of matrices", _TIME),
    "matrix_steps": Label("pre-training budget of networks of matrices", "steps"),
    "finetune_time": Label("T, learning rate x steps of fine-tuning", _TIME),
    "compute": Label("C = N D", "modes x flow time"),
    "utility": Label("u of U = L_pre + u L_ft", PLAIN),
    "inference": Label("q of the cost N D + q N", _TIME),
    "strengths": Label("sigma_i", STRENGTH),
    "exponent": Label("a; of measured strengths their slope", PLAIN),
    "compute_optimal_time": Label("D of the compute-optimal model of a size", _TIME),
    "base_loss": Label("pre-training loss", SQUARED),
    "noisy_loss": Label("pre-training loss under noise of the price G, less its constant", SQUARED),
    "pretrain_after": Label("pre-training loss after fine-tuning", SQUARED),
    "finetune_after": Label("fine-tuning loss after fine-tuning", SQUARED),
    "sensitivity": Label("sum of s_i, the Fisher trace over d_in + d_out", STRENGTH),
    "closed_deviation": Label("largest deviation of simulated losses from the closed form, relative", PLAIN),
    "optimal_size": Label("N of least base loss at C", PLAIN),
    "optimal_time": Label("D of least base loss at C", _TIME),
    "optimal_loss": Label("least base loss at C", SQUARED),
    "utility_size": Label("N of least U at C", PLAIN),
    "utility_ratio": Label("D/N of least U over D/N of least base loss, at C", PLAIN),
    "utility_edge": Label("whether that is at an end of the sizes that were told: -1, 0, 1"),
    "inference_size": Label("N of least base loss at the cost C = N (D + q)", PLAIN),
    "inference_ratio": Label("its D/N over the compute-optimal one of the same training compute", PLAIN),
    "inference_loss": Label("least base loss at the cost C", SQUARED),
    "kind": Label("what is done to a checkpoint"),
    "turn_time": Label("D* from which on the loss rises; none where that is not material", _TIME),
    "turn_ratio": Label("D*/N over that of the compute-optimal model of the size", PLAIN),
    "harm": Label("loss at the largest budget / smallest - 1", PLAIN),
    "quantity": Label("what grows with C"),
    "density": Label("sizes per octave of a grid", PLAIN),
    "grown": Label("exponent of C, mean over five shifted grids of sizes", PLAIN),
    "grown_low": Label("least of the grids", PLAIN),
    "grown_high": Label("largest of the grids", PLAIN),
    "grown_exact": Label("exponent of C of exact finite sums, on the finest grids", PLAIN),
    "grown_continuum": Label("exponent of C in the continuum", PLAIN),
    "candidate": Label("N that are compared at one C", PLAIN),
    "iso_base": Label("base loss at C", SQUARED),
    "iso_pretrain": Label("pre-training loss after fine-tuning at C", SQUARED),
    "iso_finetune": Label("fine-tuning loss after fine-tuning at C", SQUARED),
    "predicted_turn": Label("D* of large models under noise, in closed form", _TIME),
    "law": Label("law that is fitted"),
    "fit_error": Label("root mean square of the relative error of the fit", PLAIN),
    "fit_test": Label("R^2 of ln L on losses held out", PLAIN),
    "fit_turn": Label("D* of the largest model by the fit; none where it sees no turn", _TIME),
    "fit_turn_low": Label("lower end over resampled losses where these turn", _TIME),
    "fit_turn_high": Label("upper end over resampled losses where these turn", _TIME),
    "fit_turn_seen": Label("resamples that see a turn"),
    "fit_alike": Label("starts that fit as well as the best, within a tenth"),
    "fit_spread": Label("largest range of an exponent or logarithm over these", PLAIN),
    "fit_early_test": Label("R^2 beyond the turn, fitted to budgets up to it", PLAIN),
    "fit_early_turn": Label("D* of the largest model, fitted to budgets up to it", _TIME),
    "fit_true_turn": Label("D* of the largest model", _TIME),
    "width": Label("width of the hidden layer", PLAIN),
    "matrix_base_loss": Label("pre-training loss of networks of matrices", SQUARED),
    "matrix_noisy_loss": Label("expected pre-training loss under noise", SQUARED),
    "matrix_rounded_loss": Label("pre-training loss with weights rounded", SQUARED),
    "matrix_fisher_trace": Label("Fisher trace, unit output noise", "squared output / squared weight"),
    "matrix_pretrain_after": Label("pre-training loss after fine-tuning", SQUARED),
    "matrix_finetune_after": Label("fine-tuning loss after fine-tuning", SQUARED),
    "repeated_loss": Label("loss on the task where a sample of it is seen again and again", SQUARED),
    "bits": Label("bits of a weight"),
    "examples": Label("examples n of a sample"),
    "seed": Label("initial weights, and sample"),
    "matrix_kind": Label("what is done to a checkpoint, or what it is trained on"),
    "matrix_turn_time": Label("D* from which on the loss rises", _TIME),
    "matrix_harm": Label("loss at the largest budget / smallest - 1", PLAIN),
}
_CANDIDATES = 48


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """All that the account is held against; `InvalidInput` for a field outside its domain."""
    check(config)
    tasks = [spectra.power(exponent, config.modes, config.start) for exponent in config.exponents]
    tasks += [spectra.digits(config.modes)] * config.digits
    spectra.require_ranks(tasks, config.sizes)
    found, depths = modes.simulated(config, tasks, part_of(report, 0, 2))
    models = [modes.models_of(config, found, spectrum) for spectrum in tasks]
    real = matrices.trained(config, part_of(report, 1, 2))
    parts = [
        _curves(config, models),
        optima.judged(config, models),
        turned(config, models),
        _isocompute(config, models),
        _growth(config, models, depths),
        fitted(config, models[len(config.exponents) // 2]),
        real,
        turned_matrices(config, real),
    ]
    told = xr.merge(parts, compat="override", join="outer", combine_attrs="drop_conflicts")
    named = {"task": texts(config.tasks), "size": list(config.sizes), "compute": list(config.compute)}
    named |= {"finetune_time": list(config.times), "utility": list(config.utilities)}
    told = told.assign_coords(named | {"inference": list(config.inference)})
    numbers = {"price": config.price, "shifted_from": config.shifted_from, "factor": config.factor}
    numbers |= {"start": config.start, "modes": config.modes, "matrix_dim": config.matrices.dim}
    numbers |= {"label_noise": config.matrices.label_noise, "matrix_exponent": config.matrices.exponent}
    return label(told.assign_attrs(numbers), LABELS)


def _curves(config: Config, models: list[Models]) -> xr.Dataset:
    """Losses of the sizes that are shown over budgets, and how far they are from the closed forms."""
    at = np.asarray(config.sizes) - 1
    dims = ("task", "pretrain_steps", "size")
    values: dict[str, Any] = {
        "base_loss": (dims, np.stack([each.base[:, at] for each in models])),
        "noisy_loss": (dims, np.stack([(each.base + config.price * each.sensitive)[:, at] for each in models])),
        "sensitivity": (dims, np.stack([each.sensitive[:, at] for each in models])),
        "strengths": (("task", "mode"), np.stack([each.spectrum.strengths for each in models])),
        "exponent": ("task", np.array([each.spectrum.exponent for each in models])),
        "closed_deviation": ("task", np.array([_deviation(config, each) for each in models])),
    }
    tuned = ("task", "pretrain_steps", "finetune_time", "size")
    for name in ("pretrain", "finetune"):
        values[f"{name}_after"] = tuned, np.stack([getattr(each, name)[..., at] for each in models])
    laws = [each.spectrum.law for each in models]
    values["predicted_turn"] = (
        "task",
        np.array([turning_constant(law) / config.price if law else np.nan for law in laws]),
    )
    values["compute_optimal_time"] = ("task", "size"), np.array([optima.line(each, at + 1) for each in models])
    times = models[0].times
    steps = np.round(times / config.learning_rate).astype(int)
    return xr.Dataset(values, {"pretrain_steps": steps, "flow_time": ("pretrain_steps", times)})


def _deviation(config: Config, models: Models) -> float:
    """Of losses before and after fine-tuning from the closed form; NaN where there is none."""
    law = models.spectrum.law
    if law is None:
        return np.nan
    sizes = np.asarray(config.sizes)
    apart = [models.base[:, sizes - 1] / loss(law, sizes, models.times) - 1]
    for at, time in enumerate(config.times):
        told = tuned_tail(law, sizes, models.times, config.shifted_from, config.factor, time)
        apart += [models.pretrain[:, at, sizes - 1] / told.pretrain - 1]
        apart += [models.finetune[:, at, sizes - 1] / told.finetune - 1]
    return float(np.max(np.abs(apart)))


def _isocompute(config: Config, models: list[Models]) -> xr.Dataset:
    """Losses of many sizes at every compute; NaN where a size has no budget for it."""
    sizes = np.unique(np.round(np.geomspace(1, config.modes, _CANDIDATES)).astype(int))
    base = np.full((len(models), len(config.compute), len(sizes)), np.nan)
    after = np.full((2, *base.shape[:2], len(config.times), len(sizes)), np.nan)
    for row, each in enumerate(models):
        kept = sizes <= each.spectrum.rank
        for column, cost in enumerate(config.compute):
            base[row, column, kept] = each.at_cost(each.base, cost)[sizes[kept] - 1]
            for which, losses in enumerate((each.pretrain, each.finetune)):
                for time in range(len(config.times)):
                    after[which, row, column, time, kept] = each.at_cost(losses[:, time], cost)[sizes[kept] - 1]
    dims = ("task", "compute", "finetune_time", "candidate")
    return xr.Dataset(
        {
            "iso_base": (("task", "compute", "candidate"), base),
            "iso_pretrain": (dims, after[0]),
            "iso_finetune": (dims, after[1]),
        },
        {"candidate": sizes},
    )


def _growth(config: Config, models: list[Models], depths: xr.Dataset) -> xr.Dataset:
    """Exponents of compute of every task, and of every depth, measured and in closed form."""
    middle = config.exponents[len(config.exponents) // 2]
    others = [depth for depth in config.depths if depth != 2]
    deep = [
        modes.of_depth(depths, spectra.power(middle, config.modes, config.start, depth), depth, models[0].times)
        for depth in others
    ]
    every, count = [*models, *deep], len(optima.QUANTITIES)
    grown = np.full((3, len(every), len(optima.DENSITIES), count), np.nan)
    exact, continuum = np.full((2, len(every), count), np.nan)
    for row, each in enumerate(every):
        law, costs = each.spectrum.law, optima.costs_within(each)
        for column, density in enumerate(optima.DENSITIES):
            grown[:, row, column] = optima.grown(each, costs, density)
        if law is not None:
            exact[row] = optima.grown(optima.in_closed_form(each), costs, optima.DENSITIES[-1]).mean
            continuum[row] = exponents(law) if law.depth > 1 else np.nan
    names = [*config.tasks, *(f"a = {middle:g}, {depth} layer{'s' * (depth > 1)}" for depth in others)]
    dims = ("line", "density", "quantity")
    names_of = ("grown", "grown_low", "grown_high")
    values: dict[str, Any] = dict(zip(names_of, ((dims, part) for part in grown), strict=True))
    values |= {"grown_exact": (("line", "quantity"), exact), "grown_continuum": (("line", "quantity"), continuum)}
    coords = {"line": texts(names), "density": list(optima.DENSITIES), "quantity": texts(list(optima.QUANTITIES))}
    return xr.Dataset(values, coords)


experiment = Experiment("goldilocks", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main

"""Steps in names: those that are beyond doubt, those that are refused, and what a pattern decides."""

import pytest

from experiments.watch import experiment
from linsim.errors import InvalidInput
from linsim.monitoring.stored.steps import EXAMPLES, REFUSED, step_in

READ = EXAMPLES | {
    "step1000-tokens4B": 1000,
    "iter_0001000": 1000,
    "rl_model_10000_steps.zip": 10_000,
    "ckpt_100steps": 100,
    "500k_steps": 500_000,
    "epoch_3_step_300": 300,
    "epoch_3-step_300.weights": 300,
    "model.ckpt-1000": 1000,
    "global_step1000": 1000,
    "globalStep=7": 7,
    "checkpoint_1M": 1_000_000,
    "step_100_of_5000": 100,
    "pythia-1.4b-step3000": 3000,
    "llama-7b_step_100": 100,
    "checkpoint-v2-100": 100,
    "2024-01-01_step_7": 7,
    "agent_10_step_100": 100,
    "weights_20k": 20_000,
    "step_0": 0,
}

DOUBTED = [
    *REFUSED,
    *("net_7", "seed3", "epoch_3", "step_1,000", "step_1.000", "step_100_200", "step_100abc", "step_1e-3"),
    *("3f1e3a", "20240101-100", "model_7b", "70M", "model-00001-of-00002", "step--5", "-100", "step_5_step_6"),
    *("step_1e400", "step_1e25", f"step_{2**53 + 1}", "step_" + "9" * 5000, "val_loss=2.31", "x7y"),
]


@pytest.mark.parametrize("name", READ)
def test_a_step_beyond_doubt_is_read(name):
    for ending in ("", ".npz", ".safetensors", ".ckpt"):
        assert step_in(name + ending) == READ[name]


@pytest.mark.parametrize("name", DOUBTED)
def test_a_name_in_doubt_is_refused_in_one_line_that_names_the_flag_that_decides(name):
    with pytest.raises(InvalidInput) as caught:
        step_in(f"{name}.npz")
    line = str(caught.value)
    assert line.startswith(f"{name}.npz: ") and "\n" not in line and len(line) < 5400
    assert "--step-pattern" in line or "2^53" in line


def test_a_name_without_a_number_has_no_step():
    assert step_in("best.npz") is step_in("") is step_in("step_۱۰۰") is None


def test_what_the_rule_reads_and_refuses_is_what_help_shows():
    told = experiment.description.split()
    assert set(EXAMPLES) | set(REFUSED) <= set(told)


@pytest.mark.parametrize(
    ("pattern", "name", "step"),
    [
        (r"epoch=(\d+)", "epoch=1-loss=2.31", 1),
        (r"_([\d_]+)", "step_1_000", 1000),
        (r"_(\d+k)", "x_5k_y", 5000),
        (r"(\d+)", "best", None),
    ],
)
def test_a_pattern_decides(pattern, name, step):
    assert step_in(name, pattern) == step


@pytest.mark.parametrize(
    ("pattern", "name", "said"),
    [
        ("(", "a1", "step_pattern: got (; allowed: a regular expression"),
        (r"\d+", "a1", "step_pattern: .* one group"),
        (r"(\d+)", "1_2", "1_2: got step 1 and 2; allowed: one whole number"),
        (r"(\d+)|a", "a", "a: got step of no characters"),
        (r"_([\d.]+)", "step_1.5", r"step_1\.5: got step 1\.5"),
    ],
)
def test_a_pattern_that_does_not_decide_is_refused(pattern, name, said):
    with pytest.raises(InvalidInput, match=said.replace("(;", r"\(;")):
        step_in(name, pattern)

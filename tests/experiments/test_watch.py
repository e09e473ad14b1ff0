"""The command over folders of checkpoints: what it reads, what it says, and how it fails."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx
from safetensors.numpy import save_file

from experiments.watch import Config, main, run
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.monitoring.alarm import Alarm
from linsim.monitoring.measuring import Monitor
from linsim.storage import store

THEIRS = """
import jax.numpy as jnp
import numpy as np
from flax import nnx
from linsim.monitoring.predictive import SQUARED_ERROR, Predictive

inputs = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)
batches = [(inputs, inputs[:, :2]), (inputs, inputs[:, :2])]
empty = [(inputs[:0], inputs[:0, :2])]
no_batches = []
one_batch = batches[:1]
narrow = [(inputs[:, :2], inputs[:, :2])]
numbers, text = [1, 2], [np.array(["some", "text"])]
number = 3
model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
of_module = Predictive.of_module(model, SQUARED_ERROR)
of_dict = Predictive(lambda params, x: x @ params["kernel"] + params["bias"][None], SQUARED_ERROR)

def make_batches():
    yield from batches

def failing_batches():
    raise OSError("no such data")

def outputs(params, batch):
    return batch[0] @ params["kernel"]

def square(params, batch):
    return jnp.mean(outputs(params, batch) ** 2)

def vector(params, batch):
    return jnp.mean(outputs(params, batch) ** 2, axis=0)

def logarithm(params, batch):
    return jnp.log(square(params, batch) - 1.0)

def typo(params, batch):
    return params["kernels"]
"""
TYPO = THEIRS.splitlines().index('    return params["kernels"]') + 1


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A folder with a module as a user would write it."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "watched_model.py").write_text(THEIRS)
    (folder / "broken_model.py").write_text("import numpy as np\nnp.no_such_thing\n")
    (folder / "lacking_model.py").write_text("import no_such_module_at_all\n")
    return folder


@pytest.fixture(autouse=True)
def _there(theirs, monkeypatch):
    monkeypatch.chdir(theirs)
    monkeypatch.syspath_prepend(str(theirs))


def weights(scale=1.0, dtype=np.float32):
    kernel = np.arange(1, 7, dtype=dtype).reshape(3, 2) / 6
    return {"kernel": np.asarray(scale * kernel, dtype), "bias": np.zeros(2, dtype)}


def save(folder, budgets, scale=lambda budget: 1.0 + budget / 1000):
    """Checkpoints whose weights grow as `scale` says."""
    folder.mkdir(exist_ok=True)
    for budget in budgets:
        np.savez(folder / f"step_{budget}.npz", **weights(scale(budget)))


def config(folder, **changes):
    given = {"loss": "watched_model:square", "batches": "watched_model:batches", "measures": ("gradient_square",)}
    return Config(**({"folder": folder} | given | changes))


def command(folder, *flags, **given):
    """The command line; returns its exit status."""
    chosen = {"loss": "watched_model:square", "batches": "watched_model:batches"} | given
    named = [part for name, value in chosen.items() for part in (f"--{name}", value)]
    return main(["--folder", str(folder), *named, "--no-figure", "--measures", "gradient_square", *flags])


def one_line(capsys):
    """The line on standard error."""
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and told.out == "", told
    return told.err


def test_the_same_weights_read_the_same_from_every_format(tmp_path):
    import orbax.checkpoint as ocp

    folders = [tmp_path / name for name in ("npz", "safetensors", "orbax", "state", "managed")]
    for folder in folders:
        folder.mkdir()
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    manager = ocp.CheckpointManager(folders[4])
    with ocp.StandardCheckpointer() as checkpointer, manager:
        for budget in (10, 20):
            params = weights(1.0 + budget)
            nnx.update(model, jax.tree.map(jnp.asarray, params))
            np.savez(folders[0] / f"step_{budget}.npz", **params)
            save_file(params, folders[1] / f"step_{budget}.safetensors")
            checkpointer.save(folders[2] / f"step_{budget}", params)
            checkpointer.save(folders[3] / f"step_{budget}", nnx.state(model, nnx.Param))
            manager.save(budget, args=ocp.args.StandardSave(params))
        manager.wait_until_finished()
    both = {"loss": "watched_model:of_dict", "measures": ("fisher", "gradient_square")}
    first, *others = [run(config(folder, **both)) for folder in folders]
    others.append(run(config(folders[0], **both | {"loss": "watched_model:of_module"})))
    others.append(run(config(folders[3], **both | {"loss": "watched_model:of_module"}, template="watched_model:model")))
    for other in others:
        for name in ("fisher", "gradient_square", "loss", "fisher_error"):
            np.testing.assert_array_equal(first[name], other[name])
    inputs = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
    losses = [
        np.mean(np.sum((inputs @ weights(1.0 + budget, np.float64)["kernel"] - inputs[:, :2]) ** 2, axis=1))
        for budget in (10, 20)
    ]
    np.testing.assert_allclose(first["loss"], losses, rtol=1e-5)  # a mean of 8 numbers in float32


def test_the_command_leaves_a_record_a_picture_and_its_finding(tmp_path, capsys):
    # The gradient of a square grows as the weights, its square as e^(2 b / 300): twice the budget in units of 300.
    save(tmp_path / "checkpoints", range(100, 1300, 100), lambda budget: np.exp(budget / 300))
    flags = ["--folder", str(tmp_path / "checkpoints"), "--out", str(tmp_path / "out")]
    named = [
        "--loss",
        "watched_model:square",
        "--batches",
        "watched_model:make_batches",
        "--alarm-on",
        "gradient_square",
    ]
    taken = ["--measures", "gradient_square", "noise_increase", "--precision", "float64"]
    assert main([*flags, *named, *taken]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.startswith("The alarm on gradient_square rings at 700 steps.")
    for line in ("measure", "gradient_square ", "noise_increase ", "loss ", "12 checkpoints, 0 skipped; 8 examples"):
        assert line in told.out
    assert (tmp_path / "out" / "watch.png").is_file()
    dataset = store.load(tmp_path / "out")
    found = Finding.of(dataset)
    assert (found.verdict, found.numbers) == ("seen", {"steps": 700, "rings": 6})
    budgets = dataset["pretrain_steps"].values
    np.testing.assert_array_equal(budgets, np.arange(100, 1300, 100))
    np.testing.assert_allclose(
        dataset["gradient_square"][1:] / dataset["gradient_square"][:-1].values, np.exp(2 / 3), rtol=1e-6
    )
    centres = np.convolve(budgets, np.ones(5) / 5, "valid")
    np.testing.assert_allclose(dataset["alarm_growth"][4:], 2 * centres / 300, rtol=1e-6)  # weights saved in float32
    np.testing.assert_array_equal(dataset["alarm_rings"], budgets >= 700)
    assert json.loads(dataset.attrs["config"])["alarm"]["window"] == 5
    assert json.loads(dataset.attrs["checkpoints"])[0] == "step_100.npz"


SOON = Alarm(window=3, consecutive=1)
VERDICTS = {
    "weights that grow a hundredfold": (lambda budget: 10.0 ** (budget / 15), SOON, "seen"),
    "weights that hardly grow": (lambda budget: 1.0 + budget / 1e6, SOON, "not seen"),
    "fewer checkpoints than the alarm needs": (lambda budget: 10.0 ** (budget / 15), Alarm(), "cannot tell"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_checkpoints_and_an_alarm(tmp_path, name):
    scale, alarm, verdict = VERDICTS[name]
    save(tmp_path, (10, 20, 30, 40), scale)
    found = Finding.of(run(config(tmp_path, alarm=alarm)))
    assert found.verdict == verdict
    if verdict == "cannot tell":
        assert found.numbers == {"checkpoints": 4, "needs": 7}


def test_bad_flags_are_one_line(tmp_path, capsys):
    save(tmp_path / "ok", (10, 20))
    for flags, said in (
        (["--alarm.window", "2"], "window: got 2"),
        (["--alarm-on", "fisher"], "alarm_on: got fisher; allowed: one of gradient_square"),
        (["--measures", "fisher"], "measures: got fisher"),
        (["--measures", "gradient_square", "gradient_square"], "allowed: at least one, each once"),
        (["--probes", "0"], "probes: got 0"),
        (["--seed", "-1"], "seed: got -1"),
        (["--precision", "float16"], "float16"),
        (["--folder", str(tmp_path / "absent")], "folder: got "),
    ):
        assert command(tmp_path / "ok", "--out", str(tmp_path / "out"), *flags) == 2
        assert said in one_line(capsys)
        assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_their_code_is_one_line(tmp_path, capsys):
    save(tmp_path / "ok", (10, 20))
    for given, said in (
        ({"loss": ""}, "loss: got nothing; allowed: MODULE:NAME"),
        ({"loss": "watched_model"}, "loss: got watched_model; allowed: MODULE:NAME"),
        ({"loss": "no_such_module:loss"}, "allowed: a module that is found: no_such_module is not, from "),
        ({"loss": "watched_model.inner:loss"}, "allowed: a module that is found"),
        ({"loss": "broken_model:loss"}, "AttributeError: module 'numpy' has no attribute 'no_such_thing'"),
        ({"loss": "broken_model:loss"}, "(broken_model.py, line 2)"),
        ({"loss": "lacking_model:loss"}, "it lacks no_such_module_at_all"),
        ({"loss": "watched_model:absent"}, "allowed: a name in "),
        ({"loss": "watched_model:number"}, "allowed: a function loss(params, batch)"),
        (
            {"loss": "watched_model:typo"},
            "watched_model:typo on step_10.npz; allowed: code that does not fail: KeyError",
        ),
        (
            {"loss": "watched_model:typo"},
            f"(watched_model.py, line {TYPO})",
        ),
        ({"loss": "watched_model:vector"}, "loss: got a result of shapes [(2,)]; allowed: one scalar"),
        ({"batches": "watched_model:empty"}, "shape (0, 3); allowed: at least one example"),
        ({"batches": "watched_model:no_batches"}, "batches: got none; allowed: at least one microbatch"),
        ({"batches": "watched_model:number"}, "TypeError: 'int' object is not iterable"),
        ({"batches": "watched_model:failing_batches"}, "OSError: no such data (watched_model.py"),
        ({"finetune": "watched_model:narrow"}, "finetune: got watched_model:narrow, by watched_model:"),
        ({"finetune": "watched_model:numbers"}, "finetune[0]: got shape (); allowed: at least one example"),
        ({"finetune": "watched_model:text"}, "finetune: got watched_model:text, by watched_model:"),
    ):
        # Nothing of this is the checkpoints' fault: it is an error for those who skip broken ones, too.
        assert command(tmp_path / "ok", "--skip-broken", "--out", str(tmp_path / "out"), **given) == 2
        assert said in one_line(capsys)


def test_a_monitor_that_cannot_work_is_no_fault_of_the_checkpoints(tmp_path, capsys):
    save(tmp_path / "ok", (10, 20))
    flags = ("--skip-broken", "--probes", "1", "--out", str(tmp_path / "out"))
    assert command(tmp_path / "ok", *flags, batches="watched_model:one_batch") == 2
    assert one_line(capsys).startswith("probes: got 1; allowed: at least 2 with a single microbatch")


def test_a_single_checkpoint_has_no_trend(tmp_path, capsys):
    save(tmp_path / "one", (10,))
    assert command(tmp_path / "one", "--out", str(tmp_path / "out")) == 2
    assert one_line(capsys) == "checkpoints: got 1; allowed: at least 2 for a trend, 7 for this alarm to ring\n"
    (tmp_path / "one" / "step_20.npz").write_bytes(b"PK\x03\x04")
    assert command(tmp_path / "one", "--skip-broken", "--out", str(tmp_path / "out")) == 2
    assert "checkpoints: got 1" in capsys.readouterr().err


def bad_checkpoint(kind, path):
    np.savez(
        path,
        **{
            "other names": {"weight": np.ones((3, 2))},
            "other shapes": {"kernel": np.ones((3, 4)), "bias": np.ones(2)},
            "integers": weights() | {"bias": np.zeros(2, np.int32)},
            "not finite": weights(np.nan),
            "infinite loss": weights(1e30),
        }.get(kind, weights()),
    )
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-30])


BAD = {
    "other names": "no such leaf; allowed: ",
    "other shapes": "(3, 4); allowed: (3, 2)",
    "integers": "step_20.npz: bias: got dtype int32; allowed: floating-point numbers; --part or --params",
    "not finite": "step_20.npz: loss: got nan of batch 0; allowed: a finite number",
    "infinite loss": "step_20.npz: loss: got inf of batch 0; allowed: a finite number",
    "truncated": "step_20.npz: got not readable (File is not a zip file); allowed: a whole checkpoint",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_checkpoint_is_named_and_skipped_only_if_asked(tmp_path, capsys, kind):
    folder, out = tmp_path / "checkpoints", tmp_path / "out"
    save(folder, (10, 30))
    bad_checkpoint(kind, folder / "step_20.npz")
    assert command(folder, "--out", str(out)) == 2
    line = one_line(capsys)
    assert line.startswith("step_20.npz: ") and BAD[kind] in line
    assert not out.exists()
    assert command(folder, "--skip-broken", "--out", str(out)) == 0
    told = capsys.readouterr()
    assert told.err == f"skipped {line}"
    assert "2 checkpoints, 1 skipped" in told.out
    dataset = store.load(out)
    np.testing.assert_array_equal(dataset["pretrain_steps"], [10, 30])
    assert json.loads(dataset.attrs["skipped"]) == {"step_20.npz": line.strip()}


def test_foreign_files_are_named_and_ignored_ones_are_told(tmp_path, capsys):
    save(tmp_path / "checkpoints", (0, 10, 20))
    assert command(tmp_path / "checkpoints", "--out", str(tmp_path / "out")) == 0
    assert one_line_of(capsys) == "ignored step_0.npz: step 0 is no budget\n"
    (tmp_path / "checkpoints" / "config.json").write_text("{}")
    assert command(tmp_path / "checkpoints", "--out", str(tmp_path / "again")) == 0
    assert one_line_of(capsys).splitlines()[0] == "ignored config.json: some other file"


def one_line_of(capsys):
    return capsys.readouterr().err


def test_equal_checkpoints_are_told_and_their_record_is_not_trusted(tmp_path, capsys):
    save(tmp_path / "checkpoints", (10, 20, 30, 40), lambda budget: 2.0 if budget < 40 else 2.0 + 1e-6)
    assert command(tmp_path / "checkpoints", "--out", str(tmp_path / "out")) == 4
    told = " ".join(capsys.readouterr().out.split())
    assert "Not to be trusted: step_20.npz, step_30.npz hold the same weights as step_10.npz." in told
    assert "step_40.npz holds nearly the weights of step_10.npz" in told


def test_layers_and_some_of_the_parameters_are_measured_and_what_is_held_is_told(tmp_path):
    save(tmp_path, (10, 20))
    layered = run(config(tmp_path, loss="watched_model:of_dict", by_layer=True))
    assert list(layered["layer"].values) == ["bias", "kernel"]
    each = layered["gradient_square_by_layer"]
    np.testing.assert_allclose(each.sum("layer"), layered["gradient_square"], rtol=1e-6)  # sums of float32
    assert "gradient_square_by_layer_error" in layered
    of_bias = run(config(tmp_path, loss="watched_model:of_dict", params="bias"))
    np.testing.assert_allclose(of_bias["gradient_square"], each.sel(layer="bias"), rtol=1e-6)
    assert "Held, not measured: kernel." in Finding.of(of_bias).details
    with pytest.raises(InvalidInput, match="params: got heads; allowed: .* one of bias, kernel"):
        run(config(tmp_path, params="heads"))


def test_a_pattern_says_the_steps_that_names_leave_in_doubt(tmp_path, capsys):
    for epoch in (1, 2):
        (tmp_path / "runs").mkdir(exist_ok=True)
        np.savez(tmp_path / "runs" / f"epoch={epoch}-loss=2.{epoch}.npz", **weights(epoch))
    assert command(tmp_path / "runs", "--out", str(tmp_path / "out")) == 2
    assert one_line(capsys).startswith("epoch=1-loss=2.1.npz: got 1, 2.1, which leaves a doubt; allowed: ")
    np.testing.assert_array_equal(run(config(tmp_path / "runs", step_pattern=r"epoch=(\d+)"))["pretrain_steps"], [1, 2])


def test_a_template_refuses_weights_of_other_names(tmp_path):
    # Without it `nnx.merge` takes any names in sorted order.
    save(tmp_path, (10, 20))
    by_module = {"loss": "watched_model:of_module", "template": "watched_model:model"}
    assert run(config(tmp_path, **by_module)).sizes["pretrain_steps"] == 2
    for budget in (10, 20):
        swapped = {"layer_a": weights()["bias"], "layer_b": weights()["kernel"]}
        np.savez(tmp_path / f"step_{budget}.npz", **swapped)
    with pytest.raises(InvalidInput, match=r"step_10\.npz: bias: got no such array; allowed: shape \(2,\), as in the"):
        run(config(tmp_path, **by_module))


def test_the_run_tells_its_progress(tmp_path):
    save(tmp_path, (10, 20))
    seen = []
    run(config(tmp_path), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("flags", [(), ("--by-layer",)], ids=["whole", "by layer"])
def test_a_killed_run_keeps_the_readings_it_has(tmp_path, monkeypatch, flags):
    folder, out = tmp_path / "checkpoints", tmp_path / "out"
    save(folder, (10, 20, 30))
    measured, measure = [], Monitor.measure

    def dying(self, *given):
        measured.append(1)
        if len(measured) == 3:
            raise MemoryError
        return measure(self, *given)

    monkeypatch.setattr(Monitor, "measure", dying)
    assert command(folder, "--out", str(out), *flags) == 3
    assert command(folder, "--out", str(out), *flags, "--resume") == 0
    assert len(measured) == 4  # the third is taken again, the first two are not
    whole = tmp_path / "whole"
    assert command(folder, "--out", str(whole), *flags) == 0
    resumed, uninterrupted = store.load(out), store.load(whole)
    for name in uninterrupted.variables:
        np.testing.assert_array_equal(resumed[name], uninterrupted[name])
    assert ("layer" in resumed.dims) == bool(flags)


def test_a_folder_that_grows_is_measured_where_it_is_new(tmp_path, capsys, monkeypatch):
    folder, out = tmp_path / "checkpoints", tmp_path / "out"
    measured, measure = [], Monitor.measure
    monkeypatch.setattr(Monitor, "measure", lambda *given: measured.append(1) or measure(*given))
    save(folder, (10, 30))
    same = (folder, "--out", str(out), "--resume")
    assert command(*same) == 0
    assert command(*same) == 0
    assert "complete before" in capsys.readouterr().out
    assert len(measured) == 2
    save(folder, (20, 40))
    assert command(*same) == 0
    assert len(measured) == 4
    grown = store.load(out)
    xr.testing.assert_equal(grown, run(config(folder, loss="watched_model:square")))
    save(folder, (20,), lambda budget: 7.0)
    capsys.readouterr()
    assert command(*same) == 2
    assert "it differs in config.folder.step_20.npz: content " in one_line(capsys)
    assert [entry.name for entry in out.iterdir()] == ["data.zarr"]
    xr.testing.assert_identical(store.load(out), grown)

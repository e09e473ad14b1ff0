"""Tables of losses: what is read, and what is refused in a line that names row and column."""

import numpy as np
import pandas as pd
import pytest

from linsim.errors import InvalidInput
from linsim.forecasting.table import read_table

SOUND = {"budget": [1, 2, 4, 1, 2, 4], "base_loss": [4.0, 2.0, 1.0] * 2, "run": ["a"] * 3 + ["b"] * 3}


def written(folder, columns):
    path = folder / "runs.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_a_file_a_frame_and_a_mapping_are_read_alike(tmp_path):
    columns = SOUND | {"finetune_loss_before": [3.0, 2.5, 2.0] * 2, "rate": [0.1] * 6}
    read = [read_table(each) for each in (written(tmp_path, columns), pd.DataFrame(columns), columns)]
    for runs in read:
        assert [run.name for run in runs] == ["a, rate 0.1", "b, rate 0.1"]
        assert set(runs[0].losses) == {"base_loss", "finetune_loss_before"}
        assert runs[1].losses["finetune_loss_before"].tolist() == [3.0, 2.5, 2.0]


def test_columns_have_the_names_that_they_are_given(tmp_path):
    path = written(tmp_path, {"tokens": [1, 2, 4], "val": [3.0, 2.0, 1.0]})
    (run,) = read_table(path, {"budget": "tokens", "base_loss": "val"})
    assert run.budgets.tolist() == [1, 2, 4]


def test_a_column_that_is_empty_was_not_measured(tmp_path):
    (run,) = read_table({"budget": [1, 2, 4], "base_loss": [None] * 3, "pretrain_loss_after": [1.0, 2.0, 3.0]})
    assert not run.losses
    (run,) = read_table({"budget": [1, 2, 4], "base_loss": [3.0, 2.0, 1.0], "pretrain_loss_after": [np.nan] * 3})
    assert set(run.losses) == {"base_loss"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": None}, "row 1, column budget: got columns base_loss, run; allowed: a column of that name"),
        ({"base_loss": None}, "row 1, column base_loss: got columns"),
        ({"budget": [1, 4, 2, 1, 2, 4]}, "row 4, column budget: got 2.0; allowed: more than the 4 of the row before"),
        ({"budget": [1, 2, 2, 1, 2, 4]}, "row 4, column budget: got 2.0; allowed: more than the 2 of the row before"),
        ({"budget": [1, 2, 4, 1, 2, 5]}, "row 7, column budget: got 5.0; allowed: the budgets of 'a', which 'b' has"),
        ({"budget": ["1", "2", "4T", "1", "2", "4"]}, "row 4, column budget: got 4T; allowed: a finite number"),
        ({"budget": [1, 2, 4e9, 1, 2, 4e9]}, "row 4, column budget: got 4000000000.0; allowed: budgets in one unit"),
        ({"base_loss": [4.0, 0.0, 1.0] * 2}, "row 3, column base_loss: got 0.0; allowed: a finite number > 0"),
        ({"base_loss": [4.0, -1.0, 1.0] * 2}, "row 3, column base_loss: got -1.0; allowed: a finite number > 0"),
        ({"base_loss": [4.0, None, 1.0] * 2}, "row 3, column base_loss: got nothing; allowed: a finite number > 0"),
        ({"base_loss": [4e9, 2.0, 1.0] * 2}, "row 4, column base_loss: got 1.0; allowed: losses in one unit"),
    ],
)
def test_what_cannot_be_read_is_refused_by_row_and_column(tmp_path, changes, told):
    columns = {name: column for name, column in (SOUND | changes).items() if column is not None}
    with pytest.raises(InvalidInput) as error:
        read_table(written(tmp_path, columns))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_fewer_than_three_budgets_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="row 3, column budget: got 2.0; allowed: at least 3 budgets a run"):
        read_table(written(tmp_path, {"budget": [1, 2], "base_loss": [2.0, 1.0]}))


def test_a_run_that_lacks_a_budget_is_refused(tmp_path):
    columns = {"budget": [1, 2, 4, 8, 1, 2, 4], "base_loss": [4.0] * 7, "run": ["a"] * 4 + ["b"] * 3}
    with pytest.raises(InvalidInput, match="row 8, column budget: got 4.0; allowed: all 4 budgets of 'a'"):
        read_table(written(tmp_path, columns))


@pytest.mark.parametrize("table", ["no_such.csv", 3, [1, 2], {}, {"budget": [1], "base_loss": [1, 2]}])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InvalidInput):
        read_table(table)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("budget,base_loss\n1,4,5\n", "row 2: got 3 cells; allowed: 2, as the head has"),
        ("budget,base_loss\n1\n", "row 2: got 1 cells; allowed: 2"),
        ("budget,base_loss,base_loss\n1,4,4\n", "row 1, column base_loss: got 2 of that name; allowed: each name once"),
        (
            "budget,base_loss,Pretrain_loss_after\n1,4,4\n",
            "row 1, column Pretrain_loss_after: got no known name",
        ),
        ("budget,base_loss,finetune_loss_befor\n1,4,4\n", "row 1, column finetune_loss_befor: got no known name"),
        ("budget,base_loss\n1,4\n\n\n2,x\n4,1\n", "row 5, column base_loss: got x"),
    ],
)
def test_nothing_of_a_file_is_passed_over(tmp_path, text, told):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(InvalidInput) as error:
        read_table(tmp_path / "runs.csv")
    assert str(error.value).startswith(told)


def test_spaces_about_names_do_not_count(tmp_path):
    (tmp_path / "runs.csv").write_text("budget, base_loss , pretrain_loss_after\n1,4,4\n2,3,3\n4,2,2\n")
    assert set(read_table(tmp_path / "runs.csv")[0].losses) == {"base_loss", "pretrain_loss_after"}


def test_a_named_column_has_to_be_there_and_no_column_counts_twice():
    with pytest.raises(InvalidInput, match="column after: got columns budget, base_loss, run; allowed"):
        read_table(SOUND, {"pretrain_loss_after": "after"})
    with pytest.raises(InvalidInput, match="names: got base_loss for 2 columns"):
        read_table(SOUND, {"finetune_loss_before": "base_loss"})


def test_what_pandas_calls_missing_was_not_measured():
    frame = pd.DataFrame(SOUND | {"pretrain_loss_after": [None] * 6}).convert_dtypes()
    assert set(read_table(frame)[0].losses) == {"base_loss"}
    with pytest.raises(InvalidInput, match="table: got a"):
        read_table("a\0b")

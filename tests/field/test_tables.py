"""Run tables as people have them: exported, renamed, in other units, formats and words."""

import bz2
import gzip
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.laws.table import check
from toolkit.recipe.comparable import Comparable
from toolkit.synthetic import run_table
from toolkit.tables import completed, named, notes, read_table, tidy

ROLES = {name: name for name in ("params", "tokens", "budget_flop", "loss")}
BUDGETS = (1e17, 1e18, 1e19)


@pytest.fixture(scope="module")
def plain():
    """Runs of a stranger: two methods, three budgets, five sizes."""
    rows = []
    for method, extra in (("full", 0.0), ("lora", 0.1)):
        for budget in BUDGETS:
            for size in np.geomspace(0.1, 10, 5) * (budget / 6 / 20) ** 0.5:
                params = int(size)
                tokens = int(budget / 6 / params)
                loss = 1.8 + 400 / params**0.34 + 2000 / tokens**0.37 + extra
                row = {"run": f"r{len(rows)}", "method": method, "params": params}
                rows.append(row | {"tokens": tokens, "budget_flop": budget, "loss": round(loss, 5)})
    return pd.DataFrame(rows)


@pytest.fixture
def written(tmp_path):
    """Writes a frame as CSV and gives its path."""

    def write(table, name="table.csv", **options):
        table.to_csv(tmp_path / name, index=False, **options)
        return tmp_path / name

    return write


def said(table):
    return " | ".join(notes(table))


def same(read, plain):
    pd.testing.assert_frame_equal(read, plain, check_dtype=False, check_column_type=False)


# Formats


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_usual_separator_and_encoding_is_read(written, plain, separator, encoding):
    read = read_table(written(plain, sep=separator, encoding=encoding))
    same(read, plain)
    assert not notes(read)


def test_a_table_of_blanks_is_read(tmp_path, plain):
    (tmp_path / "t.txt").write_text(plain.to_string(index=False))
    same(read_table(tmp_path / "t.txt"), plain)


def test_a_markdown_table_is_read(tmp_path, plain):
    lines = ["| " + " | ".join(plain.columns) + " |", "|" + "---|" * plain.shape[1]]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in plain.itertuples(index=False)]
    (tmp_path / "t.md").write_text("\n".join(lines) + "\n")
    same(read_table(tmp_path / "t.md"), plain)


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"]
)
def test_a_packed_table_is_read_whatever_it_is_called(tmp_path, written, plain, pack):
    (tmp_path / "packed.csv").write_bytes(pack(written(plain).read_bytes()))
    same(read_table(tmp_path / "packed.csv"), plain)


def test_a_zip_of_one_file_is_read_and_one_of_two_is_not(tmp_path, written, plain):
    text = written(plain).read_text()
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("folder/table.csv", text)
    same(read_table(tmp_path / "one.zip"), plain)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    with pytest.raises(ToolkitError, match="packs 2 files: unpack it"):
        read_table(tmp_path / "two.zip")


@pytest.mark.parametrize("orient", ["lines", "records", "columns", "split"])
def test_json_is_read_in_every_usual_shape(tmp_path, plain, orient):
    path = tmp_path / "t.json"
    if orient == "lines":
        plain.to_json(path, orient="records", lines=True)
    else:
        plain.to_json(path, orient=orient)
    same(read_table(path), plain)


def test_a_jsonl_with_a_byte_order_mark_and_blank_lines_is_read(tmp_path, plain):
    text = plain.to_json(orient="records", lines=True).replace("\n", "\n\n")
    (tmp_path / "t.jsonl").write_text(text, encoding="utf-8-sig")
    same(read_table(tmp_path / "t.jsonl"), plain)


def test_parquet_and_feather_are_read(tmp_path, plain):
    plain.to_parquet(tmp_path / "t.parquet")
    plain.to_feather(tmp_path / "t.feather")
    same(read_table(tmp_path / "t.parquet"), plain)
    same(read_table(tmp_path / "t.feather"), plain)


def test_windows_1252_is_read_and_said(written, plain):
    read = read_table(written(plain.assign(data="Prüfung"), encoding="cp1252"))
    assert read["data"][0] == "Prüfung" and "Windows-1252" in said(read)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"1,2,3\n4,5,6\n", "has no header"),
        (b"\xd0\xcf\x11\xe0" + bytes(64), "is an Excel workbook: save the table as CSV"),
        (b"SQLite format 3\x00" + bytes(64), "is an SQLite database"),
        (b"\x89HDF\r\n", "is an HDF5 file"),
        (b"<!DOCTYPE html><html></html>", "is a page"),
        (bytes(range(256)) * 4, "not a readable table"),
        (b"PAR1" + bytes(50), "not a readable table"),
        (b"\x1f\x8b" + bytes(50), "not a readable table"),
        (b"params,loss\n1,2,3\n", "line 2 has 3 cells, the header 2; a cell with a comma in it"),
        (b"# made by hand\nparams;loss\n1;2;3\n", "line 3 has 3 cells, the header 2"),
        (b'{"params": 1, "loss": 2}\n{"params": 1, "loss"\n', "line 2 is no JSON"),
        (b'{"params": 1, "loss": 2, "loss": 3}\n', "gives 'loss' twice in one row"),
        (b"[1, 2]", "entry 1 is no object"),
    ],
)
def test_what_is_no_table_is_named_in_plain_words(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ToolkitError, match=words) as refused:
        read_table(tmp_path / "t.csv")
    assert str(tmp_path / "t.csv") in str(refused.value)


def test_a_workbook_of_today_is_named_in_plain_words(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(ToolkitError, match=r"is a spreadsheet .*: save the table as CSV"):
        read_table(tmp_path / "t.xlsx")


def test_lines_around_the_table_are_passed_over(tmp_path, plain):
    body = plain.to_csv(index=False)
    for before in ("sep=,\n", "# exported on Monday\n# by hand\n", "\n\n"):
        (tmp_path / "t.csv").write_text(before + body + "\n\n")
        same(read_table(tmp_path / "t.csv"), plain)


def test_a_header_behind_a_hash_is_a_header(tmp_path, plain):
    numbers = plain[["params", "tokens", "budget_flop", "loss"]]
    np.savetxt(tmp_path / "t.txt", numbers, header="params tokens budget_flop loss")
    read = read_table(tmp_path / "t.txt")
    np.testing.assert_allclose(read.to_numpy(), numbers.to_numpy())


def test_files_put_one_after_the_other_are_one_table(tmp_path, plain):
    half = len(plain) // 2
    parts = [plain[:half].to_csv(index=False), plain[half:].to_csv(index=False)]
    (tmp_path / "t.csv").write_text("".join(parts))
    same(read_table(tmp_path / "t.csv"), plain)


def test_row_numbers_and_a_last_empty_column_say_nothing(tmp_path, plain):
    plain.to_csv(tmp_path / "t.csv")
    same(read_table(tmp_path / "t.csv"), plain)
    text = "".join(f"{line},\n" for line in plain.to_csv(index=False).splitlines())
    (tmp_path / "t.csv").write_text(text)
    same(read_table(tmp_path / "t.csv"), plain)


# Numbers


def test_decimal_commas_are_read_and_said(written, plain):
    read = read_table(written(plain, sep=";", decimal=","))
    same(read, plain)
    assert "decimal comma" in said(read)


def test_decimal_commas_beside_points_between_thousands_are_read(written, plain):
    german = plain.assign(
        params=plain["params"].map(lambda v: f"{v:,}".replace(",", ".")),
        loss=plain["loss"].map(lambda v: f"{v:.3f}".replace(".", ",")),
    )
    for separator in (";", "\t", ","):
        read = read_table(written(german, sep=separator))
        assert read["params"].tolist() == plain["params"].tolist()
        assert read["loss"].tolist() == plain["loss"].round(3).tolist()


@pytest.mark.parametrize("mark", [",", " ", "'", "_", "\u202f"])
def test_marks_between_thousands_are_read(written, plain, mark):
    marked = plain.assign(tokens=plain["tokens"].map(lambda v: f"{v:,}".replace(",", mark)))
    same(read_table(written(marked)), plain)
    same(read_table(written(marked, sep=";")), plain)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5B", 1.5e9), ("1.5 b", 1.5e9), ("70m", 7e7), ("70M", 7e7), ("70 million", 7e7),
        ("3e8", 3e8), ("3E8", 3e8), ("3×10^8", 3e8), ("3x10^8", 3e8), ("3*10**8", 3e8),
        ("3×10⁸", 3e8), ("10^8", 1e8), ("300k", 3e5), ("2,000,000", 2e6), ("1.2G", 1.2e9),
        ("7B params", 7e9), ("0.3 T", 3e11), ("2bn", 2e9),
    ],
)  # fmt: skip
def test_counts_are_read_as_people_write_them(written, plain, text, value):
    cells = plain["params"].astype(object)
    cells[3] = text
    read = read_table(written(plain.assign(params=cells)))
    assert read["params"][3] == pytest.approx(value)
    assert read["params"][0] == plain["params"][0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2 PFLOP", 2e15), ("1.5 EFLOPs", 1.5e18), ("1 PF-day", 8.64e19), ("1e18 FLOP", 1e18)],
)
def test_budgets_are_read_as_people_write_them(written, plain, text, value):
    read = read_table(written(plain.assign(budget_flop=text)))
    assert read["budget_flop"][0] == pytest.approx(value)
    assert repr(text) in said(read) or "budget_flop" not in said(read)


def test_percentages_are_shares(written, plain):
    read = read_table(written(plain.assign(recall_at_1="85 %", warmup="10%")))
    assert read["recall_at_1"][0] == 0.85 and read["warmup"][0] == pytest.approx(0.1)
    assert "recall_at_1: '85 %' is read as 0.85" in said(read)


@pytest.mark.parametrize("empty", ["", "NA", "n/a", "-", "—", "None", "null", "NaN", "diverged"])
def test_every_usual_mark_of_an_empty_cell_is_one(written, plain, empty):
    cells = plain["loss"].astype(object)
    cells[3] = empty
    read = read_table(written(plain.assign(loss=cells)))
    assert check(read, ROLES).dropped[0].rows == (4,)


def test_a_cell_that_is_no_number_is_refused_by_its_row(written, plain):
    for wrong in ("low", "1,2,3", "12,34", "1e", "B"):
        cells = plain["params"].astype(object)
        cells[3] = wrong
        with pytest.raises(
            ToolkitError, match=f"'params' must hold numbers; row 4 holds '{wrong}'"
        ):
            check(read_table(written(plain.assign(params=cells))), ROLES)


# Names


@pytest.mark.parametrize(
    "spell",
    [str.upper, str.title, lambda n: f" {n} ", lambda n: n.replace("_", " "),
     lambda n: n.replace("_", "-").capitalize(), lambda n: n.replace("_", "")],
)  # fmt: skip
def test_columns_are_found_by_any_spelling(written, plain, spell):
    read = read_table(written(plain.rename(columns=spell)))
    same(read, plain)
    assert not notes(read)


def test_the_columns_of_experiment_trackers_are_found(written, plain):
    tracked = plain.assign(lr=0.1, lora_rank=4, state="finished")
    names = {
        "wandb": {"run": "Name", "state": "State", "loss": "summary/eval_loss"}
        | {n: f"config/{n}" for n in ("method", "params", "tokens", "budget_flop", "lr")},
        "mlflow": {"run": "run_id", "state": "status", "loss": "metrics.loss"}
        | {n: f"params.{n}" for n in ("method", "params", "tokens", "budget_flop", "lr")},
    }
    for renamed in names.values():
        read = read_table(written(tracked.rename(columns=renamed)))
        assert {"run", "method", "params", "tokens", "budget_flop", "loss", "lr"} <= set(read)
        assert check(read, ROLES).rows.size == len(plain)
        assert (read["status"] == "finished").all()


def test_nested_json_of_trackers_is_found(tmp_path, plain):
    lines = [
        json.dumps(
            {
                "config": {k: row[k] for k in ("method", "params", "tokens", "budget_flop")},
                "summary": {"loss": row["loss"]},
            }
        )
        for row in plain.to_dict("records")
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    same(read_table(tmp_path / "t.jsonl")[plain.columns[1:]], plain[plain.columns[1:]])


def test_usual_other_names_are_taken_and_said(written, plain):
    other = {"params": "Model Size", "budget_flop": "Training FLOP", "loss": "Validation Loss"}
    read = read_table(written(plain.rename(columns=other)))
    same(read, plain)
    for new, old in other.items():
        assert f"column {old!r} is taken as {new}" in said(read)


def test_columns_are_named_by_the_user(written, plain, capsys):
    path = written(plain.rename(columns={"params": "Größe", "loss": "a, b"}))
    read = read_table(path, columns={"params": "größe", "loss": "a, b"})
    same(read, plain)
    options = ["--columns", "params=Größe,loss=a, b"]
    assert main(["recipe", str(path), "--flop", "1e18", *options]) == 0
    with pytest.raises(ToolkitError, match="no column 'Groesse'; did you mean Größe"):
        read_table(path, columns={"params": "Groesse"})
    assert main(["recipe", str(path), "--flop", "1e18", "--columns", "parms=Größe"]) == 2
    assert "did you mean params?" in capsys.readouterr().err


def test_a_column_that_the_user_names_replaces_the_usual_one(written, plain):
    path = written(plain.assign(other=plain["loss"] + 1))
    read = read_table(path, columns={"loss": "other"})
    assert read["loss"].tolist() == (plain["loss"] + 1).tolist()
    assert named(read, "other") == "loss"


@pytest.mark.parametrize("second", ["loss", "Loss", "metrics.loss"])
def test_two_columns_that_may_be_the_loss_are_refused_by_name(written, plain, second):
    table = pd.concat([plain, (plain["loss"] + 5).rename(second)], axis=1)
    with pytest.raises(ToolkitError, match=r"2 columns (called|that may be) 'loss'"):
        read_table(written(table))
    if second != "loss":
        read = read_table(written(table), columns={"loss": second})
        assert read["loss"].tolist() == (plain["loss"] + 5).tolist()


def test_two_columns_of_a_name_that_nobody_asks_for_are_let_be(written, plain):
    table = pd.concat([plain, plain["run"].rename("note"), plain["run"].rename("note")], axis=1)
    assert len(read_table(written(table))) == len(plain)
    with pytest.raises(ToolkitError, match="2 columns called 'note'"):
        read_table(written(table), roles={"x": "note"})


def test_of_several_usual_names_none_is_guessed(written, plain):
    table = plain.rename(columns={"loss": "val_loss"}).assign(test_loss=plain["loss"] + 1)
    with pytest.raises(ToolkitError, match="no column 'loss'; did you mean"):
        check(read_table(written(table)), ROLES)


def test_a_held_out_loss_beside_the_loss_is_pointed_out(written, plain):
    read = read_table(written(plain.assign(eval_loss=plain["loss"] + 1)))
    assert "the loss is column 'loss', not 'eval_loss'" in said(read)


# Methods, states and other words


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (("FULL", "Full ", "full", "Full fine-tuning", "full_finetune", "fine-tuning"), "full"),
        (("LoRA", "LORA", " lora", "LoRA tuning"), "lora"),
        (("BitFit", "bias tuning", "Bias", "bias-only"), "bias"),
        (("Freeze", "block freezing", "frozen"), "freeze"),
        (("Prefix Tuning", "prefix-tuning", "PREFIX TUNING", "prefix_tuning"), None),
    ],
)
def test_a_method_is_one_however_it_is_spelled(written, plain, words, method):
    cells = [words[i % len(words)] for i in range(len(plain))]
    read = read_table(written(plain.assign(method=cells)))
    assert read["method"].nunique() == 1
    if method:
        assert read["method"][0] == method
    assert "read as" in said(read)


def test_methods_that_only_look_alike_stay_apart(written, plain):
    cells = [("lora", "qlora", "lora-8", "lora-16")[i % 4] for i in range(len(plain))]
    read = read_table(written(plain.assign(method=cells)))
    assert read["method"].tolist() == cells and not notes(read)


@pytest.mark.parametrize(
    "word", ["finished", "Finished", "COMPLETED", "done", " Success ", "succeeded", "complete"]
)
@pytest.mark.parametrize("name", ["status", "State"])
def test_every_usual_word_for_a_finished_run_is_one(written, plain, word, name):
    cells = [word] * (len(plain) - 1) + ["crashed"]
    read = read_table(written(plain.assign(**{name: cells})))
    (dropped,) = check(read, ROLES).dropped
    assert dropped.rows == (len(plain),)


def test_a_status_that_is_empty_throughout_is_ignored_and_said(written, plain):
    read = read_table(written(plain.assign(status="")))
    assert check(read, ROLES).rows.size == len(plain)
    assert "column 'status' is empty throughout" in said(read)


def test_words_that_say_of_no_run_that_it_finished_are_quoted(written, plain):
    with pytest.raises(ToolkitError, match="it says fertig, where finished, completed, done or"):
        check(read_table(written(plain.assign(status="fertig"))), ROLES)


def test_a_convention_is_one_however_it_is_spelled(written, plain):
    cells = [("model", "Model ")[i % 2] for i in range(len(plain))]
    found = Comparable.of(read_table(written(plain.assign(flop_convention=cells))))
    assert len(found.runs) == len(plain)


def test_without_a_method_one_is_assumed_and_said(written, plain, capsys):
    full = plain[plain["method"] == "full"].drop(columns="method")
    assert main(["recipe", str(written(full)), "--flop", "1e19"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no column says the method: all runs are taken as full fine-tuning" in shown
    table = completed(full.assign(lora_rank=[8.0, *[None] * (len(full) - 1)]))
    assert table["method"].tolist() == ["lora"] + ["full"] * (len(full) - 1)
    assert "runs with lora_rank as lora, the others are taken as full" in said(table)


def test_a_budget_or_tokens_that_are_missing_follow_from_the_others(plain):
    full = plain[plain["method"] == "full"]
    table = completed(full.drop(columns="budget_flop"))
    np.testing.assert_allclose(table["budget_flop"], full["budget_flop"], rtol=1e-4)
    assert "taken as 6 params tokens" in said(table)
    table = completed(full.drop(columns="tokens"))
    np.testing.assert_allclose(table["tokens"], full["tokens"], rtol=1e-4)
    assert "tokens" not in completed(plain.drop(columns="tokens"))  # LoRA does not spend 6.


# Units


@pytest.mark.parametrize(
    ("units", "option"),
    [
        ({"params": 1e6, "tokens": 1e9}, "--unit params=1e6,tokens=1e9"),
        ({"params": 1e6}, "--unit params=1e6"),
        ({"tokens": 1e9}, "--unit tokens=1e9"),
        ({"tokens": 1e6}, "--unit tokens=1e6"),
        ({"budget_flop": 1e18}, "--unit budget_flop=1e18"),
        ({"budget_flop": 1e15}, "--unit budget_flop=1e15"),
        ({"params": 1e6, "tokens": 1e9, "budget_flop": 1e18}, "--unit params=1e6,tokens=1e9"),
    ],
)
def test_columns_in_other_units_are_doubted_with_the_option_that_mends_them(
    written, plain, units, option
):
    table = plain.assign(**{name: plain[name] / unit for name, unit in units.items()})
    read = read_table(written(table))
    assert option in said(read)
    assert read["params"].tolist() == table["params"].tolist()  # Nothing is changed unasked.
    mended = read_table(written(table), unit=units)
    np.testing.assert_allclose(mended["params"], plain["params"])
    assert "very" not in said(mended) and "?" not in said(mended)


def test_the_doubt_says_how_far_out_the_columns_are(written, plain, capsys):
    table = plain.assign(params=plain["params"] / 1e6, tokens=plain["tokens"] / 1e9)
    path = str(written(table))
    for command in (["recipe", path, "--flop", "1e19"], ["fit", path, "--form", "parametric"]):
        assert main([*command, *(["--bootstrap", "0"] if command[0] == "fit" else [])]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "6 params tokens is 10⁻¹⁵ of budget_flop" in shown
        assert "params=1e6,tokens=1e9" in shown
        assert main([*command, "--unit", "params=M,tokens=billion"]) == 0
        assert "10⁻¹⁵" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Params (M)", "params [millions]", "params_millions"])
def test_a_unit_in_a_columns_name_counts_and_is_said(written, plain, name):
    table = plain.assign(params=plain["params"] / 1e6).rename(columns={"params": name})
    read = read_table(written(table))
    np.testing.assert_allclose(read["params"], plain["params"])
    assert f"as its name {name!r} says" in said(read)


def test_our_own_tables_and_published_ones_are_not_doubted(written, plain):
    own = read_table(written(run_table(ranks=(8,), seeds=(0, 1))))
    assert not notes(own) and not notes(read_table(written(plain)))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--unit", "params"], "--unit takes NAME=VALUE"),
        (["--unit", "params=-1"], "--unit takes positive numbers, not '-1'"),
        (["--unit", "params=big"], "--unit takes positive numbers, not 'big'"),
        (["--unit", "wight=1e6"], "no column 'wight'"),
        (["--unit", "run=1e6"], "column 'run' must hold numbers to have a unit"),
        (["--columns", "=x"], "--columns takes NAME=VALUE"),
        (["--columns", "params=nothing"], "no column 'nothing'"),
        (["--budgets", "1e18,x"], "--budgets takes positive numbers, not 'x'"),
    ],
)
def test_a_bad_option_is_one_sentence(written, plain, capsys, option, words):
    assert main(["recipe", str(written(plain)), "--flop", "1e18", *option]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error


# Budgets as they were spent


@pytest.mark.parametrize("off", [0.001, 0.02, 0.05])
def test_budgets_as_they_were_spent_are_grouped_and_said(plain, off):
    noise = np.random.default_rng(0).uniform(1 - off, 1 + off, len(plain))
    table = completed(plain.assign(budget_flop=plain["budget_flop"] * noise))
    assert table["budget_flop"].tolist() == plain["budget_flop"].tolist()
    assert "are grouped" in said(table) and "into 3 budgets: 10¹⁷, 10¹⁸, 10¹⁹" in said(table)


def test_true_neighbouring_budgets_are_not_merged(plain):
    close = {1e17: 1e18, 1e18: 1.05e18, 1e19: 1.1e18}
    exact = plain.assign(budget_flop=plain["budget_flop"].map(close))
    assert completed(exact)["budget_flop"].tolist() == exact["budget_flop"].tolist()
    noise = np.random.default_rng(0).uniform(0.998, 1.002, len(plain))
    spent = completed(exact.assign(budget_flop=exact["budget_flop"] * noise))
    assert spent["budget_flop"].tolist() == exact["budget_flop"].tolist()


def test_budgets_without_gaps_are_left_as_they_are(plain):
    spread = np.geomspace(1e17, 1e19, len(plain))
    table = completed(plain.assign(budget_flop=spread))
    assert table["budget_flop"].tolist() == spread.tolist() and not notes(table)


def test_budgets_are_gathered_about_those_that_the_user_names(written, plain, capsys):
    noise = np.random.default_rng(0).uniform(0.5, 1.9, len(plain))
    spent = plain.assign(budget_flop=plain["budget_flop"] * noise)
    spent.loc[0, "budget_flop"] = 1e12
    read = read_table(written(spent), budgets=BUDGETS)
    assert read["budget_flop"][1:].tolist() == plain["budget_flop"][1:].tolist()
    assert "1 farther out is left out" in said(read)
    assert check(read, ROLES).dropped[0].rows == (1,)
    command = ["recipe", str(written(spent)), "--flop", "1e19", "--budgets", "1e17,1e18,1e19"]
    assert main(command) == 0
    assert "budgets 10¹⁷ to 10¹⁹" in capsys.readouterr().out


# Wherever a table is read


@pytest.fixture
def strange(written, plain):
    """A table with strange names and units, and the options that say what they are."""
    table = plain.assign(params=plain["params"] / 1e6)
    path = written(table.rename(columns={"params": "size", "loss": "score"}), sep=";")
    return path, ["--columns", "params=size,loss=score", "--unit", "params=1e6"]


def test_every_command_that_reads_a_table_takes_the_same_options(
    strange, fitted_once, tmp_path, capsys
):
    path, options = strange
    page = tmp_path / "page.html"
    for command in (
        ["recipe", path, "--flop", "1e19"],
        ["fit", path, "--form", "isoflop", "--group", "method", "--bootstrap", "0"],
        ["trial", path, path, "--flop", "1e19"],
        ["explorer", path, "--output", page],
    ):
        code = main([*map(str, command), *options])
        shown = capsys.readouterr()
        if command[0] == "trial":  # The test may not be among the runs that it tests.
            assert "no column" not in shown.err
        else:
            assert code == 0, shown.err
    assert page.exists()


@pytest.mark.process
@pytest.mark.slow
def test_a_report_reads_the_table_as_it_was_told(strange, capsys):
    path, options = strange
    assert main(["report", str(path), *options]) == 0
    assert "Written" in capsys.readouterr().out


def test_fit_finds_the_columns_that_its_flags_name(written, plain, capsys):
    path = str(written(plain.rename(columns={"params": "My Size", "loss": "Score"})))
    fit = ["fit", path, "--form", "parametric", "--bootstrap", "0", "--starts", "20", "--json"]
    for flags in (
        ["--params", "my_size", "--loss", "score"],
        ["--params", "My Size", "--y", "Score"],
    ):
        assert main([*fit, *flags, "--group", "Method"]) == 0
        groups = json.loads(capsys.readouterr().out)["groups"]
        assert groups["full"]["params"]["E"]["value"] == pytest.approx(1.8, rel=0.01)


def test_a_frame_is_put_in_order_like_a_file(plain):
    table = tidy(plain.rename(columns=str.title).assign(Method="FULL"))
    assert set(table["method"]) == {"full"}
    assert tidy(table).equals(table)

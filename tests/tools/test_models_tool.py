"""tools/models.py: the tables, one network layer by layer, and the page in the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from agegender.graph import builtin_defaults, builtin_names
from tools import model_table, models
from tools.model_text import BEGIN, END, amount, replaced

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return model_table.network_rows()


@pytest.fixture(autouse=True)
def _count_once(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_table, "network_rows", lambda: rows)


def test_every_network_with_every_head_is_a_row(rows: list[dict[str, Any]]) -> None:
    assert sorted(row["name"] for row in rows) == [name for name in builtin_names() if not name.startswith("mtcnn_")]
    first = {row["network"]: row for row in reversed(rows)}
    assert {name: row["name"] for name, row in first.items()} == {name: name for name in builtin_defaults()}
    m50 = first["m50"]
    assert {key: m50[key] for key in ("input", "embedding", "parameters", "states", "macs", "file_size")} == {
        "input": [3, 112, 112],
        "embedding": 256,
        "parameters": 3_498_407,
        "states": 24_448,
        "macs": 567_716_352 + 1024 * 256 + 256 * (2 + 101) + 101,
        "file_size": (ROOT / "models" / "m50" / "m50-0001.params").stat().st_size,
    }


def test_papers_are_met_or_explained(rows: list[dict[str, Any]]) -> None:
    """Whoever states a count gets a comparison; a difference of more than 1% needs words."""
    for name, defaults in builtin_defaults().items():
        compared = [row for row in rows if row["network"] == name and row["paper"]]
        stated = defaults["paper_params"] or defaults["paper_macs"] or defaults["paper_note"]
        assert len(compared) == bool(stated)
        for row in compared:
            said = row["paper"]
            near = all(said[key] is None or abs(row[key] / said[key] - 1) < 0.01 for key in ("parameters", "macs"))
            assert near or said["note"]
    ssr = next(row for row in rows if row["name"] == "ssrnet-ssr")
    assert ssr["paper"]["parameters"] == 40_900
    assert next(row for row in rows if row["name"] == "ssrnet")["paper"] is None


def test_the_list_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"network +input +parameters +MACs +fc1 +\.params +paper: parameters +MACs", lines[0])
    assert any(re.fullmatch(r"m50 +3x112x112 +3,498,407 +568M +256 +14\.10 MB +4\.20M +569M", line) for line in lines)
    assert any(re.fullmatch(r"ssrnet-ssr +3x64x64 +75,295 +21\.5M +64 +0\.31 MB +40\.9k", line) for line in lines)
    assert any(re.fullmatch(r"ssrnet,46 +ssrnet +3x64x64 +94,679 .* 4\.900 +0\.637 +0\.921", line) for line in lines)
    assert max(map(len, lines)) <= 120


def test_the_list_as_json_has_the_shipped_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shipped = {row["name"]: row for row in found["shipped"]}
    assert shipped["ssrnet"]["val"] == pytest.approx({"MAE": 4.900495, "CUM_5": 0.6368421, "acc": 0.9210526})
    assert (shipped["m50"]["input"], shipped["m50"]["epoch"]) == ([3, 96, 96], 1)
    # Its own first stride is the paper's, 2: a quarter of the multiply-adds at 112, and 96 is smaller still.
    assert shipped["m50"]["macs"] < 0.2 * next(row for row in found["networks"] if row["name"] == "m50")["macs"]


def test_without_shipped_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["list", "--models", str(tmp_path)]) == 0
    assert "shipped" not in capsys.readouterr().out


def test_one_network_layer_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["show", "mtcnn_onet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mtcnn_onet, input 3x48x48, .params 1.56 MB")
    assert re.fullmatch(r"conv1 +Convolution +32x46x46 +896 +1,828,224", lines[2])
    assert re.fullmatch(r"total +389,040 +0 +[\d,]+", lines[-1])
    assert models.main(["show", "mtcnn_onet", "--all", "--json"]) == 0
    every = json.loads(capsys.readouterr().out)
    assert every["parameters"] == sum(node["parameters"] for node in every["nodes"]) == 389_040
    assert {"softmax", "Pooling"} <= {node["op"] for node in every["nodes"]}


def test_a_checkpoint_at_another_size(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(ROOT / "models" / "m50" / "m50")
    found = []
    for shape in ((), ("--data_shape", "3,192,192")):
        assert models.main(["show", model, *shape, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    small, large = found
    assert (small["input"], large["input"]) == ([3, 96, 96], [3, 192, 192])
    assert large["parameters"] == small["parameters"] == 3_498_407
    convolutions = [sum(n["macs"] for n in each["nodes"] if n["op"] == "Convolution") for each in found]
    assert convolutions[1] == 4 * convolutions[0]


def test_a_checkpoint_for_one_size_only(untrained_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["show", str(untrained_model)]) == 0
    assert re.search(r"^total +94,679 +512 +[\d,]+$", capsys.readouterr().out, flags=re.MULTILINE)
    assert models.main(["show", str(untrained_model), "--data_shape", "3,128,128"]) == 2
    assert "was trained for another input than 3,128,128: its layers don't fit" in capsys.readouterr().err


def test_one_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["show", "ssrnet-ssr", "--task", "age", "--json"]) == 0
    age = json.loads(capsys.readouterr().out)
    # 75,295 without gender (64 x 2 + 2) and the embedding: 480 x 64 + 64, and its BatchNorm.
    assert age["parameters"] == 75_295 - 130 - (480 * 64 + 64 + 2 * 64) == 44_253
    assert not [node for node in age["nodes"] if "gender" in node["name"] or "fc1" in node["name"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "m51"], r"there is no model 'm51'.*built-in networks: .*ssrnet-ssr"),
        (["show", "mtcnn_onet", "--data_shape", "3,4,4"], r"the graph can't take images of shape \(3, 4, 4\)"),
    ],
)
def test_what_can_not_be_shown(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(words) in (1, 2)
    error = capsys.readouterr().err
    assert re.match(rf"models\.py: error: {message}", error) and error.count("\n") == 1


def test_a_shape_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        models.main(["show", "m50", "--data_shape", "112,112"])
    assert "'112,112' is not channels,height,width" in capsys.readouterr().err


def test_the_docs_have_the_table_of_the_networks_and_a_paragraph_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["docs", "--check"]) == 0, capsys.readouterr().err
    headings = re.findall(r"^## (.+)$", models.PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(builtin_defaults()) <= set(headings)


def test_another_table_is_reported_then_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "networks.md"
    page.write_text(f"# Networks\n\n{BEGIN}\n{END}\nMore.\n", encoding="utf-8")
    assert models.main(["docs", "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Networks\n") and text.endswith(f"{END}\nMore.\n") and "| 3,498,407 |" in text
    page.write_text(text.replace("3,498,407", "3,498,408"), encoding="utf-8")
    assert models.main(["docs", "--page", str(page), "--check"]) == 1
    assert f"{page}: differs from the networks; python tools/models.py docs rewrites it" in capsys.readouterr().err
    assert models.main(["docs", "--page", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == text
    page.write_text("# Networks\n", encoding="utf-8")
    assert models.main(["docs", "--page", str(page)]) == 1
    assert "have to stand in it once, in this order" in capsys.readouterr().err


@pytest.mark.quick
@pytest.mark.parametrize(
    ("number", "text"),
    [
        *[(None, ""), (0, "0"), (999, "999"), (1000, "1.00k"), (40_900, "40.9k"), (99_960, "100k"), (999_499, "999k")],
        *[(999_500, "1.00M"), (9_996_000, "10.0M"), (6_309_383_781, "6.31G"), (123_456_789_012, "123G")],
    ],
)
def test_amounts_have_three_figures(number: int | None, text: str) -> None:
    assert amount(number) == text


@pytest.mark.quick
def test_a_table_is_put_between_its_marks() -> None:
    page = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert replaced(page, "new\n", where="p") == page.replace("old", "new")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['models.py', '--help']\n"
        "from tools import models\n"
        "try: models.main(['--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'torch', 'mxnet', 'symbols'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

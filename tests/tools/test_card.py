"""Model cards say what the reports say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agegender.errors import DataError
from tools import card


def test_the_committed_cards_are_those_of_the_reports(root: Path) -> None:
    found = list(card.cards(root))
    assert {path.parent.name for path, _, _ in found} == {"lite0", "m50", "ssrnet"}
    for path, text, wanted in found:
        assert text == wanted, f"{path}: python tools/card.py rewrites it"


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Path:
    """A checkout with one report and its card."""
    for folder in ("docs/reports/m50", "models/m50"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(root / "docs/reports/m50/report.json", tmp_path / "docs/reports/m50/report.json")
    (tmp_path / "models/m50/README.md").write_text(
        f"# m50\n\n{card.BEGIN}\nold\n{card.END}\n\nrest\n", encoding="utf-8"
    )
    return tmp_path


def test_it_writes_between_the_marks_alone(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = house / "models/m50/README.md"
    assert card.main(["--check"], root=house) == 1
    assert capsys.readouterr().err == f"{path}: differs from its report; python tools/card.py rewrites it\n"
    assert "old" in path.read_text(encoding="utf-8")
    assert card.main([], root=house) == 0
    assert capsys.readouterr().out == f"{path}: written\n"
    assert card.main(["--check"], root=house) == 0
    assert capsys.readouterr().out == f"{path}: as its report says\n"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(
        f"# m50\n\n{card.BEGIN}\n`dataset/test.rec`, n = 2,314; [the whole report](../../docs/reports/"
    )
    assert text.endswith(f"|\n{card.END}\n\nrest\n")


def test_figures_have_n_and_interval(house: Path) -> None:
    report = json.loads((house / "docs/reports/m50/report.json").read_text(encoding="utf-8"))
    report["overall"]["mae"] = {"value": 1.234, "n": 2000, "low": 1.0, "high": 1.5}
    report["overall"]["acc"] = {"value": 0.5, "n": 10, "low": None, "high": None}
    report["by"]["age"]["0-9"]["bias"] = {"value": -0.5, "n": 12, "low": -1.0, "high": 0.25}
    block = card.card_block(report, link="x.html")
    assert "| MAE, years | 1.23 | 1.00 to 1.50 | 2,000 |" in block
    assert "| gender accuracy | 50.0% |  | 10 |" in block
    assert "| -0.50* (-1.00 to +0.25) |" in block
    assert "| White (0) | 1,005 |" in block


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# m50\n",
            "README.md: <!-- figures: report.json --> and <!-- end --> have to stand in it once, in this order",
        ),
        (f"{card.END}\n{card.BEGIN}\n", "have to stand in it once"),
        (f"{card.BEGIN}\n{card.BEGIN}\n{card.END}\n", "have to stand in it once"),
    ],
)
def test_a_card_without_marks_is_refused(house: Path, text: str, message: str) -> None:
    (house / "models/m50/README.md").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        card.main([], root=house)


def test_damaged_reports_are_refused(house: Path) -> None:
    report = house / "docs/reports/m50/report.json"
    report.write_text('{"n": 3}', encoding="utf-8")
    with pytest.raises(DataError, match=r"report.json beside it is not as eval.py --report writes it \('about'\)"):
        card.main([], root=house)
    report.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"report\.json: not JSON"):
        card.main([], root=house)
    (house / "models/m50/README.md").unlink()
    with pytest.raises(DataError, match="there is no card"):
        card.main([], root=house)

"""Write the figures of model cards from committed reports: what docs/reports/NAME/report.json says into models/NAME.

python tools/card.py            rewrites the block of each card that has a report
python tools/card.py --check    changes nothing; exit code 1 where a card says something else than its report

The block of a card's README.md lies between ``<!-- figures: report.json -->`` and ``<!-- end -->``. Exit code: 0 all
well, 1 a card or a report is at fault, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.app.ending import exit_code_of
from agegender.errors import DataError
from agegender.files import write_text
from agegender.report.texts import GROUPS, TEXTS

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures: report.json -->", "<!-- end -->"
YEARS = {"mae", "rmse", "bias", "macro_mae", "width80"}
OVERALL = {
    "mae": "MAE, years",
    "rmse": "RMSE, years",
    "bias": "bias, years (positive: too old)",
    "CUM_5": "CUM_5",
    "macro_mae": "MAE, every cell of decade x gender weighing the same",
    "acc": "gender accuracy",
    "balanced_acc": "gender accuracy, both genders weighing the same",
    "macro_acc": "gender accuracy, every cell of decade x gender weighing the same",
    "auc": "area under the ROC curve of gender",
    "ece": "calibration error of gender (ECE)",
    "fpr18_25": "under 18 but estimated 25 or older (challenge age 25)",
    "under13_over18": "under 13 but estimated 18 or older",
    "coverage80": "true age inside the 80% interval",
    "width80": "width of that interval, years",
}
COLUMNS = {"acc": "gender", "mae": "MAE", "CUM_5": "CUM_5", "bias": "bias"}
TABLES = {"gender": "By gender:", "group": "By group:", "age": "By true age:"}


def card_block(report: Mapping[str, Any], *, link: str) -> str:
    """Return the Markdown between the marks for ``report``, the content of a report.json; ``link`` leads to its page.

    Raises DataError where a figure is missing.
    """
    try:
        return "\n".join(_lines(report, link)) + "\n"
    except (KeyError, TypeError) as error:
        raise DataError(f"{link}: the report.json beside it is not as eval.py --report writes it ({error})") from None


def _lines(report: Mapping[str, Any], link: str) -> Iterator[str]:
    about, few = report["about"], report["few"]
    drawn = TEXTS["en"][report["bootstrap"]["unit"]].format(**report["bootstrap"])
    macro = report["macro"]
    overall = {**report["overall"], "macro_mae": macro["mae"], "macro_acc": macro["acc"]}
    yield f"`{about['data']['path']}`, n = {report['n']:,}; [the whole report]({link}). {drawn}"
    yield ""
    yield "| | value | 95% interval | n |"
    yield "|---|---|---|---|"
    for name, words in OVERALL.items():
        of = overall[name]
        if of["n"]:
            yield f"| {words} | {_value(name, of)} | {_ends(name, of)} | {of['n']:,} |"
    yield ""
    yield (
        f"Cells are decades of age by gender: {macro['cells']} with at least {macro['least']} faces count, "
        f"{macro['left_out']} with fewer do not. Below, an asterisk marks fewer than {few} faces."
    )
    codes = GROUPS.get(report["source"], {})
    for column, title in TABLES.items():
        rows = report["by"].get(column)
        if rows:
            yield from ("", title, "", f"| | n | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 2) + "|")
            for row, figures in rows.items():
                name = f"{codes[row][0]} ({row})" if column == "group" and row in codes else row
                yield f"| {name} | {_n(figures):,} | {' | '.join(_cell(key, figures[key], few) for key in COLUMNS)} |"


def _n(figures: Mapping[str, Any]) -> int:
    return max(int(figures[key]["n"]) for key in COLUMNS)


def _cell(name: str, of: Mapping[str, Any], few: int) -> str:
    if of["value"] is None:
        return ""
    ends = "" if of["low"] is None else f" ({_ends(name, of)})"
    return f"{_value(name, of)}{'*' if of['n'] < few else ''}{ends}"


def _value(name: str, of: Mapping[str, Any], end: str = "value") -> str:
    number = of[end]
    if number is None:
        return ""
    if name == "bias":
        return f"{number:+.2f}"
    return f"{number:.2f}" if name in YEARS else f"{number:.3f}" if name in ("auc", "ece") else f"{number:.1%}"


def _ends(name: str, of: Mapping[str, Any]) -> str:
    return "" if of["low"] is None else f"{_value(name, of, 'low')} to {_value(name, of, 'high')}"


def replaced(card: str, block: str, *, where: str) -> str:
    """Return the text ``card`` with ``block`` between its marks. Raises DataError where these are not there once."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest:
        raise DataError(f"{where}: {BEGIN} and {END} have to stand in it once, in this order")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def cards(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (card, its text, the text that it should have) of each model under ``root`` that has a report.

    Raises DataError for a damaged report, or one without a card.
    """
    for path in sorted((root / "docs/reports").glob("*/report.json")):
        card = root / "models" / path.parent.name / "README.md"
        if not card.is_file():
            raise DataError(f"{path}: there is no card {card}")
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error})") from None
        text = card.read_text(encoding="utf-8")
        link = f"../../docs/reports/{path.parent.name}/index.html"
        yield card, text, replaced(text, card_block(report, link=link), where=str(card))


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Write or check the cards; 1 where ``--check`` finds one that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which cards differ from their report")
    check = parser.parse_args(argv).check
    differ = 0
    for card, text, wanted in cards(root):
        if text == wanted:
            print(f"{card}: as its report says")
        elif check:
            differ += 1
            print(f"{card}: differs from its report; python tools/card.py rewrites it", file=sys.stderr)
        else:
            write_text(card, wanted)
            print(f"{card}: written")
    return 1 if differ else 0


def run() -> NoReturn:
    """Run as a script."""
    sys.exit(exit_code_of(main, prog="card.py"))


if __name__ == "__main__":
    run()

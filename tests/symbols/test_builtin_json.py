"""The JSON in the package equals what ``symbols/`` builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import build_symbols

NAMES = ["r50", "m50", "ssrnet", "ssrnet-ssr", "mobilefacenet", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"]


def test_every_builtin_is_shipped_and_nothing_else() -> None:
    assert list(build_symbols.builders()) == NAMES
    assert sorted(path.stem for path in build_symbols.OUTPUT.glob("*.json")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_builtin_equals_builder(name: str) -> None:
    shipped = (build_symbols.OUTPUT / f"{name}.json").read_text(encoding="utf-8")
    assert shipped == build_symbols.builders()[name]().tojson() + "\n"


def test_check_names_a_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_symbols.main(["--output", str(tmp_path)]) == 0
    assert build_symbols.main(["--output", str(tmp_path), "--check"]) == 0
    (tmp_path / "m50.json").write_text("{}\n", encoding="utf-8")
    capsys.readouterr()
    assert build_symbols.main(["--output", str(tmp_path), "--check"]) == 1
    assert (
        capsys.readouterr().out == f"{tmp_path / 'm50.json'} is not what symbols/ builds; run tools/build_symbols.py\n"
    )
    assert (tmp_path / "m50.json").read_text(encoding="utf-8") == "{}\n"

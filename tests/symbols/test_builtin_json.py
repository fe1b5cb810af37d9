"""The JSON in the package equals what ``symbols/`` builds."""

from __future__ import annotations

from pathlib import Path

import pytest

import symbols
from agegender.graph import builtin_defaults, builtin_names
from tools import build_symbols

NAMES = list(build_symbols.builders())


def test_every_builtin_is_shipped_and_nothing_else() -> None:
    assert {"r50", "ssrnet", "ssrnet-ssr", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"} <= set(NAMES)
    assert builtin_names() == sorted(NAMES)
    assert list(builtin_defaults()) == list(symbols.NETWORKS)
    files = [*(f"{name}.json" for name in NAMES), *(f"{name}.defaults.json" for name in symbols.NETWORKS)]
    assert sorted(path.name for path in build_symbols.OUTPUT.iterdir()) == sorted(files)


@pytest.mark.parametrize("network", symbols.NETWORKS.values(), ids=list(symbols.NETWORKS))
def test_builtin_defaults_equal_the_networks(network: symbols.Network) -> None:
    shipped = builtin_defaults()[network.name]
    assert {"name": network.name, "builder": network.builder, **shipped} == vars(network)


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


def test_check_names_a_file_of_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_symbols.main(["--output", str(tmp_path)]) == 0
    (tmp_path / "gone-ssr.json").write_text("{}\n", encoding="utf-8")
    capsys.readouterr()
    assert build_symbols.main(["--output", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'gone-ssr.json'} belongs to no network of symbols/; delete it\n"
    assert build_symbols.main(["--output", str(tmp_path)]) == 0
    assert (tmp_path / "gone-ssr.json").exists()

"""Networks are found by their files; what a file says of its network is checked."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import symbols
from symbols.network import RESERVED, Network
from symbols.registry import find_networks

ROOT = Path(__file__).resolve().parents[2]


def file(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    return module


def network(name: str, **fields: Any) -> Network:
    return Network(name=name, builder=lambda **_: None, **fields)


@pytest.mark.quick
def test_files_with_one_several_and_no_network() -> None:
    one, two, three = network("zebra"), network("b1"), network("b2")
    files = [file("a", NETWORK=one), file("b", NETWORKS=(three, two)), file("blocks", conv=print)]
    assert list(find_networks(files).items()) == [("b1", two), ("b2", three), ("zebra", one)]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([file("a", NETWORK="r50")], "a: 'r50' is no symbols.network.Network"),
        (
            [file("a", NETWORK=network("twin")), file("b", NETWORKS=(network("twin"),))],
            "network 'twin' is in a and in b",
        ),
    ],
)
def test_files_at_fault_are_named(files: list[ModuleType], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        find_networks(files)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("my-net", {}, "network name 'my-net' is not made of a-z, 0-9 and _, beginning with a letter"),
        ("net", {"head": "reg"}, "net: head 'reg' is not among its heads (dex)"),
        ("net", {"paper_head": "ssr"}, "net: head 'ssr' is not among its heads (dex)"),
        ("net", {"arguments": {"head": 1}}, "net: every network has 'head', it can't be one of its own arguments"),
        ("net", {"data_shape": (3, 60, 64)}, "data shape (3, 60, 64) is not 3,height,width with both sides multiples"),
    ],
)
def test_a_network_that_contradicts_itself(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        network(name, **fields)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("fields", "fitting", "others", "message"),
    [
        ({}, [(3, 96, 112)], [(3, 100, 112), (1, 112, 112), (3, 112), (3, -16, 16)], "with both sides multiples of 16"),
        ({"sides": 1}, [(3, 227, 201)], [(4, 227, 227)], "is not 3,height,width"),
        ({"sides": 224, "data_shape": (3, 224, 224)}, [(3, 448, 224)], [(3, 112, 112)], "both sides multiples of 224"),
        ({"fixed": True}, [(3, 112, 112)], [(3, 96, 96)], "is not 3,112,112, the only one that net takes"),
        (
            {"image": False, "data_shape": (512, 1, 1)},
            [(512, 1, 1), (7, 1, 1)],
            [(3, 112, 112), (512, 1), (0, 1, 1)],
            "is not numbers,1,1, as net takes no image",
        ),
    ],
)
def test_the_inputs_that_a_network_takes(
    fields: dict[str, Any], fitting: list[tuple[int, ...]], others: list[tuple[int, ...]], message: str
) -> None:
    found = network("net", **fields)
    for shape in fitting:
        found.check_shape(shape)
    for shape in others:
        with pytest.raises(ValueError, match=re.escape(f"data shape {shape} ") + f".*{re.escape(message)}"):
            found.check_shape(shape)


@pytest.mark.quick
def test_defaults_can_not_be_changed_behind_the_tables_back() -> None:
    given = {"width": 1.0}
    found = network("net", arguments=given)
    given["width"] = 2.0
    assert found.arguments == {"width": 1.0}
    with pytest.raises(TypeError):
        found.arguments["width"] = 3.0  # type: ignore[index]


@pytest.mark.quick
@pytest.mark.parametrize("name", symbols.NETWORKS)
def test_builders_take_what_their_networks_promise(name: str) -> None:
    found = symbols.NETWORKS[name]
    taken = inspect.signature(found.builder).parameters
    wanted = {*RESERVED, *found.arguments} | ({"age_bins"} if "bins" in found.heads else set())
    assert wanted <= set(taken)
    assert {key: taken[key].default for key in found.arguments} == found.arguments
    assert found.paper_note or found.paper_params is None


def test_a_network_is_one_file(tmp_path: Path) -> None:
    """A copy of the checkout, the file and the commands of CONTRIBUTING.md, and what has changed then.

    Only ssrnet stays there, for the commands' quickness: a network goes as it comes, with its files.
    """
    house = tmp_path / "house"
    for name in ("symbols", "src", "tools"):
        shutil.copytree(ROOT / name, house / name, ignore=shutil.ignore_patterns("__pycache__"))
    (house / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "networks.md", house / "docs")
    for network in symbols.NETWORKS.values():
        if network.name != "ssrnet":
            Path(house, *network.builder.__module__.split(".")).with_suffix(".py").unlink()
            for path in (house / BUILTIN).glob(f"{network.name}[-.]*"):
                path.unlink()
    before = contents(house)
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Add a network")[2]
    (house / "symbols" / "mynet.py").write_text(block(page, "python"), encoding="utf-8")
    commands = [shlex.split(line) for line in block(page, "shell").splitlines()]
    assert [words[:2] for words in commands] == [["python", "tools/build_symbols.py"], ["python", "tools/models.py"]]
    for words in commands:
        run(house, *words[1:])
    after = contents(house)
    assert sorted(path for path in {*before, *after} if before.get(path) != after.get(path)) == [
        "docs/networks.md",
        *(f"{BUILTIN}/mynet{kind}.json" for kind in ("-bins", "-reg", ".defaults", "")),
        "symbols/mynet.py",
    ]
    # conv1 and conv2, the convolution over the whole map, fc1, their BatchNorms, and the heads.
    numbers = 27 * 8 + 72 * 8 + 9 * 9 * 8 + 8 * 24 + 24 + 2 * (8 + 8 + 8 + 24) + (24 + 1) * (2 + 101)
    row = rf"\| `mynet` \| 3x36x36 \| {numbers:,} \| [^|]+ \| 24 \| 0\.02 MB \| 12\.0k \|  \|"
    assert re.search(row, after["docs/networks.md"].decode())
    assert "- `mynet`: the paper has 100 classes for age." in after["docs/networks.md"].decode()
    assert run(house, "-c", TRAINED).splitlines() == [
        "(3, 36, 36) 24 dex adam 0.002 {'width': 0.5, 'embedding': 24}",
        "unknown argument 'dropout' for mynet (width)",
        "unknown network 'mynett'; did you mean 'mynet'",
    ]


BUILTIN = "src/agegender/graph/builtin"
# What train.py makes of it: its defaults, its argument, and messages that name it.
TRAINED = """
import sys
sys.path.insert(0, "src")
from agegender.app.networks import build_network, packaged_networks
from agegender.engine.config import TrainConfig
from agegender.errors import UsageError

built = build_network(TrainConfig(network="mynet", width=0.5))
config = built.config
print(config.data_shape, config.embedding, config.head, config.optimizer, config.lr, built.arguments)
assert packaged_networks()["mynet"].arguments == {"width": 1.0}
for wrong in ({"network": "mynet", "dropout": 0.5}, {"network": "mynett"}):
    try:
        build_network(TrainConfig(**wrong))
    except UsageError as error:
        print(str(error).partition("? (")[0])
"""


def block(page: str, kind: str) -> str:
    """The first ``kind`` block of a list's point, without its indentation."""
    found = re.search(rf"^   ```{kind}\n(.*?)^   ```", page, flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[1])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(house: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-B", *words], cwd=house, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

"""README's table "Coming from another project": every command on our side runs, on small sets in the sets' layouts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agegender.recordio import Header, RecordWriter, open_records, pack, unpack
from tests.face_sets import FaceSets
from tests.house import furnish, run

README = "README.md"
HEADING = "## Coming from another project"
HEADING_ZH = "## 从其他项目迁移"
COUNT = 24


def table_of(readme: Path, heading: str) -> list[str]:
    """The commands in the second column of the section's table. Fails where there is none."""
    text = readme.read_text(encoding="utf-8")
    start = text.find(f"\n{heading}\n")
    assert start >= 0, f"{readme.name} has no section {heading!r}"
    section = text[start + len(heading) + 2 :].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    commands = [re.fullmatch(r"`([^`]+)`", cells[-1].strip()) for cells in rows[1:]]
    broken = [cells for cells, command in zip(rows[1:], commands, strict=True) if len(cells) != 2 or command is None]
    assert not broken, f"rows that are not two cells, the second one command: {broken}"
    return [command.group(1) for command in commands if command]


def swap_labels(source: Path, target: Path) -> None:
    """Write records whose labels are age, gender, as SSR-Net's sets have them, and with nothing beside them."""
    target.parent.mkdir(parents=True)
    with RecordWriter(target) as writer:
        for key, payload in enumerate(open_records(source)):
            header, body = unpack(payload)
            writer.write(key, pack(Header(label=header.label[::-1].copy(), id=key), bytes(body)))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A checkout as a user has it, with the sets that the table's projects use under dataset/."""
    house = furnish(tmp_path_factory.mktemp("coming"), root)
    (house / "models").symlink_to(root / "models")
    assert run("python create_dataset.py --synthetic 40", folder=house).code == 0
    sets = FaceSets(house / "dataset", root / "test.jpg", count=COUNT)
    for part in ("imdb", "wiki"):
        sets.imdb_wiki(part)
    swap_labels(house / "dataset" / "train.rec", house / "packed" / "theirs" / "train.rec")
    for write in (sets.megaage_asian, sets.adience, sets.afad, sets.agedb):
        write()
    return house


@pytest.mark.timeout(500)
def test_every_command_of_the_table_runs(house: Path, root: Path) -> None:
    commands = table_of(root / README, HEADING)
    assert len(commands) > 20
    failed = []
    for command in commands:
        ended = run(command, folder=house)
        if ended.code != 0 or "Traceback" in ended.errors:
            failed.append(f"{command}\n  exit code {ended.code}\n  {ended.errors[-600:]}")
    assert not failed, "\n".join(failed)


@pytest.mark.quick
def test_the_chinese_table_has_the_same_commands(root: Path) -> None:
    assert table_of(root / "README.zh.md", HEADING_ZH) == table_of(root / README, HEADING)

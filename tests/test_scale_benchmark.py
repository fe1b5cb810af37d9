"""The arithmetic of benchmarks/scale.py against sums done by hand, and docs/scale.md against what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from agegender.face import encode_jpeg
from benchmarks.scale import main

DOCS = Path(__file__).resolve().parents[1] / "docs" / "scale.md"


def cells(printed: str, row: str) -> list[str]:
    line = next(line for line in printed.splitlines() if line.startswith(row))
    return re.split(r"\s{2,}", line.removeprefix(row).strip())


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert f"\n```\n{capsys.readouterr().out.strip()}\n```\n" in DOCS.read_text(encoding="utf-8")


def test_sums(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--faces 3.6e6 --cores 10 --gpus 2 --epochs 5 --photo_rate 20 --driver_detect_us 100 --before_us 1000"
    flags += " --m50_gpu_rate 1000 --record_bytes 5000 --loader_rate 500 --core_price 0.5 --gpu_price 4"
    flags += " --driver_bytes 1000"
    assert main(flags.split()) == 0
    printed = capsys.readouterr().out
    # 3.6 million at 20 a second: 180,000 s, 50 hours, on ten cores 5; 0.1 of writing and 1 before. 10,000/s write.
    assert cells(printed, "photos of several people") == ["20", "50", "5.0", "0.1", "6.0", "500", "30"]
    # 18 million faces at 2,000 a second are 2.5 hours of 2 GPUs at 4; 10 MB a second; 4 cores load 2,000.
    assert cells(printed, "m50, GPUs") == ["aim, not measured", "2,000", "2.5", "20", "10", "4.0"]
    assert cells(printed, "records on disk") == ["18.0 GB"]
    assert cells(printed, "memory of the machine that writes while packing") == ["3.6 GB"]


def test_the_machine_that_writes_is_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--faces 3.6e6 --cores 1000 --photo_rate 20 --driver_detect_us 2000 --before_us 0"
    assert main(flags.split()) == 0
    assert cells(capsys.readouterr().out, "photos of several people") == ["20", "50", "0.1", "2.0", "2.0", "25", "80"]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of twelve different JPEGs, one of which lies deeper, and a broken one."""
    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for number in range(12):
        image = rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)
        path = tmp_path / ("deep" if number == 5 else "") / f"{number}.jpg"
        path.write_bytes(encode_jpeg(image, 80))
    (tmp_path / "cut.jpg").write_bytes(b"no picture")
    return tmp_path


def test_measure(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--measure", str(faces), "--aligned"]) == 0
    said = re.fullmatch(r"13 photos, 12 packed, ([\d,]+) a second and core, ([\d,]+) bytes\n", capsys.readouterr().out)
    assert said is not None
    sizes = [path.stat().st_size for path in faces.rglob("[0-9]*.jpg")]
    assert int(said[2].replace(",", "")) == round(sum(sizes) / 12)
    assert int(said[1].replace(",", "")) > 100


def test_measure_writing(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--measure", str(faces), "--aligned", "--writing", "--photos", "6"]) == 0
    line = capsys.readouterr().out
    assert re.fullmatch(r"6 faces, before [\d,]+ us, writing [\d,]+ us; in all \d+\.\d s \(wall\)\n", line)


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no JPEG lies there"):
        main(["--measure", str(tmp_path)])

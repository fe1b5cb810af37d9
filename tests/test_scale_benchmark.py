"""The arithmetic of benchmarks/scale.py against sums done by hand, and docs/scale.md against what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from agegender.face import encode_jpeg
from agegender.ray_session import ray_session
from agegender.recordio import Header, RecordWriter, pack
from benchmarks.scale import FLAGS, PUBLISHED, main
from benchmarks.scale_measured import PATH_LETTERS, _drawn_plan

DOCS = Path(__file__).resolve().parents[1] / "docs" / "scale.md"


def cells(printed: str, row: str) -> list[str]:
    line = next(line for line in printed.splitlines() if line.startswith(row))
    return re.split(r"\s{2,}", line.removeprefix(row).strip())


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = DOCS.read_text(encoding="utf-8")
    assert f"\n```\n{capsys.readouterr().out.strip()}\n```\n" in page
    # Whoever measured what we didn't is named and linked.
    assert all(f"]({one.where})" in page for one in PUBLISHED)


def test_sums(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--faces 3.6e6 --cores 10 --gpus 2 --epochs 5 --photo_rate 20 --driver_detect_us 100 --before_us 1000"
    flags += " --m50_gpu_rate 1000 --record_bytes 5000 --loader_rate 500 --core_price 0.5 --gpu_price 4"
    flags += " --driver_bytes 1000"
    assert main(flags.split()) == 0
    printed = capsys.readouterr().out
    # 3.6 million at 20 a second: 180,000 s, 50 hours, on ten cores 5; 0.1 of writing and 1 before. 10,000/s write.
    assert cells(printed, "photos of several people") == ["20", "50", "5.0", "0.1", "6.0", "500", "30"]
    # 18 million faces at 2,000 a second are 2.5 hours of 2 GPUs at 4; 10 MB a second; 4 cores load 2,000.
    assert cells(printed, "m50, 2 of your GPUs") == ["given", "2,000", "2.5", "20", "10", "4.0"]
    assert "r50, 2 of your GPUs" not in printed
    assert cells(printed, "records on disk") == ["18.0 GB"]
    assert cells(printed, "memory of the machine that writes while packing") == ["3.6 GB"]


def test_the_machine_that_writes_is_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--faces 3.6e6 --cores 1000 --photo_rate 20 --driver_detect_us 2000 --before_us 0"
    assert main(flags.split()) == 0
    assert cells(capsys.readouterr().out, "photos of several people") == ["20", "50", "0.1", "2.0", "2.0", "25", "80"]


def test_rates_of_others_go_by_multiplications(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--r50_work 8.18 --faces 8.27e6 --epochs 9 --gpus 4 --loader_rate 519.4"
    assert main(flags.split()) == 0
    printed = capsys.readouterr().out
    # Eight A100 do 16,621 images/s of half the work: 1,038.8 faces/s each, two cores of 519.4 for every one of them.
    [row] = [line for line in printed.splitlines() if line.startswith("A100 80 GB")]
    assert re.split(r"\s{2,}", row.strip())[-5:] == ["4.09", "0.50", "r50", "1,039", "0.5"]
    # 4,155 faces/s: 74.43 million are 17,912 s; 4.98 hours of 4 GPUs at 3.
    assert cells(printed, "r50, 4 x A100 80 GB") == ["estimated", "4,155", "5.0", "60", "26", "8.0"]


def test_the_work_of_our_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--multiplications"]) == 0
    found = dict(re.findall(r"(\w+): ([\d.]+) billion multiplications a face\n", capsys.readouterr().out))
    given = {name.removesuffix("_work"): value for name, value, _ in FLAGS if name.endswith("_work")}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(given, rel=2e-3)
    # insightface's README says 6.3 of the same network.
    assert round(given["r50"], 1) == 6.3


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
    assert int(said[1].replace(",", "")) > 10


def test_measure_writing(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--measure", str(faces), "--aligned", "--writing", "--photos", "6"]) == 0
    line = capsys.readouterr().out
    assert re.fullmatch(r"6 faces, before [\d,]+ us, writing [\d,]+ us; in all \d+\.\d s \(wall\)\n", line)


def test_actors_and_workers(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    (faces / "cut.jpg").unlink()
    with ray_session("local", flag="--ray", cores=2):
        assert main(["--measure", str(faces), "--aligned", "--actor", "--turns", "1"]) == 0
    actor, actors, workers = capsys.readouterr().out.splitlines()
    said = re.fullmatch(
        r"an actor without a detector, 12 of 12 photos packed: ([\d,]+) MB at the most, ([\d,]+) MB its own", actor
    )
    assert said is not None
    # A process of Python with OpenCV, and no more.
    assert 20 < int(said[2]) < int(said[1]) < 1000
    assert re.fullmatch(r"--ray_actors 2: 12 faces in \d+\.\d s, [\d,]+/s after the first of them", actors)
    assert re.fullmatch(r"--workers 2: 12 faces in \d+\.\d s, [\d,]+/s after the first of them", workers)


def test_memory_per_face(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--memory", "20000"]) == 0
    said = re.fullmatch(r"20,000 faces: (-?[\d,]+) bytes a face for samples, sizes and plan\n", capsys.readouterr().out)
    assert said is not None
    # In a process that has done other things some of it lies where there was room already.
    assert int(said[1].replace(",", "")) < 1500
    plan = _drawn_plan(200)
    every = [face for part in plan.splits.values() for face in part]
    assert len({face.path for face in every}) == plan.total == len(plan.sizes) == 200
    assert {len(str(face.path)) for face in every} == {PATH_LETTERS}


def test_bytes_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.rec"
    with RecordWriter(path) as writer:
        for key in range(3):
            writer.write(key, pack(Header([1, 30], key), bytes(100)))
    for suffix, text in ((".lst", "123456"), (".csv", "123")):
        path.with_suffix(suffix).write_text(text, encoding="utf-8")
    assert main(["--bytes", str(path)]) == 0
    tables = (path.with_suffix(".idx").stat().st_size + 9) / 3
    # 8 of framing, 24 of header, 8 of two labels, 100 of body.
    assert capsys.readouterr().out == f"3 faces: 140 bytes a record, {tables:.0f} in .idx, .lst, .csv\n"
    path.with_suffix(".csv").unlink()
    with pytest.raises(SystemExit, match=r"--bytes .*train.rec: .*train.csv is not there"):
        main(["--bytes", str(path)])
    with pytest.raises(SystemExit, match=r"--bytes none.rec: none.rec is not there"):
        main(["--bytes", "none.rec"])


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no JPEG lies there"):
        main(["--measure", str(tmp_path)])

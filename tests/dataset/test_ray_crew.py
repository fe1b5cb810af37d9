"""Packing on a Ray of this machine: the bytes of the single-machine run, whatever happens to the workers meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agegender.app.cli import run_command
from agegender.app.pack import open_detector
from agegender.dataset import pack as packing
from agegender.dataset import ray_crew
from agegender.dataset.config import PackConfig
from agegender.dataset.crew import Chunk
from agegender.dataset.face_record import FaceSample
from agegender.dataset.journal import PARTIAL
from agegender.dataset.plan import crop_settings, make_plan
from agegender.dataset.ray_crew import RayCrew
from agegender.dataset.report import PackReport
from agegender.errors import AgeGenderError, DataError, DeviceError, UsageError
from agegender.ray_session import error_of_ray, ray_session
from tests.dataset.test_pack_resume import StoppedError, command, contents, spoiled, wait_for_states

DrawFiles = Callable[..., list[FaceSample]]
SIZE = 48
ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture(scope="module")
def ray_here() -> Iterator[ModuleType]:
    """A Ray with two cores, which the runs of the tests use one after the other."""
    with ray_session("local", flag="--ray", cores=2) as ray:
        # The workers know the package, not the tests.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield ray


@pytest.fixture(autouse=True)
def _note_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(packing, "_CHUNK", 4)


def packed(samples: list[FaceSample], output: Path, *, ray: bool = True, **options: Any) -> PackReport:
    more = {name: options.pop(name) for name in ("make_detector", "progress") if name in options}
    values: dict[str, Any] = {"image_size": SIZE, "val_ratio": 0.25, "shards": 3, "workers": 2, **options}
    if ray:
        values = {"ray": "local", "ray_actors": 2, **values}
    return packing.pack(samples, PackConfig(output=str(output), **values), **more)


def looking(folder: Path, number: int, *, deadly: str = "") -> npt.NDArray[np.uint8]:
    """Draw face ``number``, leaving a file with the name of the process in ``folder``; ``deadly``: once, always."""
    (folder / str(os.getpid())).touch()
    died = folder / f"died-{number}"
    if deadly == "always" or (deadly == "once" and not died.exists()):
        with open(died, "a", encoding="utf-8") as file:
            file.write(".")
        os.kill(os.getpid(), signal.SIGKILL)
    return np.random.default_rng(number).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


def drawn(folder: Path, count: int, **deadly: str) -> list[FaceSample]:
    """Return faces that are drawn by their worker; ``face3="always"`` lets number 3 kill it."""
    folder.mkdir(exist_ok=True)
    return [
        FaceSample(
            Path(f"drawn/{number:03d}"),
            number % 2,
            number % 101,
            "drawn",
            template="utkface",
            draw=partial(looking, folder, number, deadly=deadly.get(f"face{number}", "")),
        )
        for number in range(count)
    ]


def workers_seen(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


def is_running(process: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_same_bytes_as_on_one_machine(
    ray_here: ModuleType, draw_files: DrawFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards; faces passed through, resized, unreadable, named from here: all files and the reports are the same."""
    faces = spoiled([*draw_files(40, size=64), *draw_files(21, size=SIZE, source="ready")])
    monkeypatch.chdir(tmp_path)
    faces = [replace(face, path=face.path.relative_to(tmp_path)) if face.age % 2 else face for face in faces]
    one = packed(faces, tmp_path / "one", ray=False, quality=90)
    other = packed(faces, tmp_path / "ray", quality=90)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    assert len(list((tmp_path / "ray").glob("train-0000?-of-00003.rec"))) == 3
    assert (other.splits, other.sources, other.files) == (one.splits, one.sources, one.files)
    assert other.splits == {"train": 40, "val": 12}
    assert other.problems.counts() == {"unreadable image": 9}


def test_photos_are_detected_and_warped(ray_here: ModuleType, root: Path, tmp_path: Path) -> None:
    """The real MTCNN, in actors and in processes: the same crops, boxes, scores and colours of random borders."""
    photo = cv2.imread(str(root / "test.jpg"))
    half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    faces = []
    for number, image in enumerate((half, half[:, ::-1], half[10:], np.full((60, 80, 3), 127, np.uint8))):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(image))
        faces.append(FaceSample(path, 1, 30, "loose"))
    options = {"make_detector": open_detector, "border": "random", "shards": 2, "val_ratio": 0.0}
    one = packed(faces, tmp_path / "one", ray=False, **options)
    assert one.splits == {"train": 3}
    assert one.problems.counts() == {"no face found": 1}
    packed(faces, tmp_path / "ray", ray_actors=1, **options)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")


def test_workers_that_are_killed(ray_here: ModuleType, tmp_path: Path) -> None:
    """All the workers there are, in the middle, and one more by a photo that does it once: the same bytes."""
    seen = tmp_path / "seen"
    faces = drawn(seen, 80, face33="once")
    killed: set[int] = set()

    def kill(phase: str, done: int, total: int) -> None:
        # Not at one count alone: the photo may just have killed the only one that has started.
        if phase == packing.PACKING and done >= 16 and not killed:
            killed.update(filter(is_running, workers_seen(seen)))
            for process in killed:
                os.kill(process, signal.SIGKILL)

    report = packed(faces, tmp_path / "ray", progress=kill)
    assert killed
    # Beside these the one that the photo killed, which may be among them, and the one that went on.
    assert len(workers_seen(seen)) >= len(killed) + 1
    assert (seen / "died-33").read_text() == "."
    assert report.splits == {"train": 60, "val": 20}
    packed(faces, tmp_path / "one", ray=False)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    # The actors have ended with the run, and Ray, which was there before, has not.
    assert ray_here.is_initialized()
    end = time.monotonic() + 20
    while left := set(filter(is_running, workers_seen(seen) - {os.getpid()})):
        assert time.monotonic() < end, left
        time.sleep(0.05)  # Ray kills behind our back


def test_a_photo_that_kills_each_worker_ends_the_job(ray_here: ModuleType, tmp_path: Path) -> None:
    faces = drawn(tmp_path / "seen", 40, face7="always")
    with pytest.raises(AgeGenderError) as error:
        packed(faces, tmp_path / "ray")
    assert str(error.value) == (
        "drawn/007: every worker that packs this photo dies (2 with others, 2 with it alone; out of memory?); "
        "--resume goes on from here where there is more memory, or start again without this photo"
    )
    assert (tmp_path / "seen" / "died-7").read_text() == "...."
    assert [path.name for path in (tmp_path / "ray").iterdir()] == [PARTIAL]
    # As after any other end: --resume goes on, here where nothing kills any more.
    healed = drawn(tmp_path / "seen", 40)
    assert packed(healed, tmp_path / "ray", ray=False, resume=True).packed == 40
    packed(healed, tmp_path / "one", ray=False)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")


def test_resume_with_ray_what_began_without(ray_here: ModuleType, draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(40, size=64)

    def stop(phase: str, done: int, total: int) -> None:
        if phase == packing.PACKING and done >= 20:
            raise StoppedError

    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "cut", ray=False, progress=stop)
    report = packed(faces, tmp_path / "cut", ray_actors=1, resume=True)
    assert report.resumed == 16
    packed(faces, tmp_path / "whole", ray=False)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_options_of_ray_are_no_part_of_the_plan(draw_files: DrawFiles) -> None:
    faces = draw_files(4)
    identities = [
        make_plan(faces, PackConfig(image_size=SIZE, **options), sizes={}).identity
        for options in ({}, {"ray": "auto", "ray_actors": 7}, {"workers": 3})
    ]
    assert identities[0] == identities[1] == identities[2]


def test_few_chunks_are_under_way(ray_here: ModuleType, tmp_path: Path) -> None:
    """Chunks are asked for as they are needed, and come back in order though the first takes longest."""
    faces = drawn(tmp_path / "seen", 60)
    asked = 0

    def chunks() -> Iterator[Chunk]:
        nonlocal asked
        for number, face in enumerate(faces):
            asked += 1
            yield Chunk(number, [face], False)

    settings = crop_settings(PackConfig(image_size=SIZE))
    with RayCrew(settings, address="local", actors=2, make_detector=None) as crew:
        for number, (chunk, crops) in enumerate(crew.crop(chunks())):
            assert chunk.first == number
            assert len(crops) == 1
            assert asked - number <= 3 * 2 + 1


def refuse() -> Any:
    raise DataError("models/mtcnn/pnet.params: is damaged")


@pytest.mark.parametrize(
    ("make_detector", "kind", "message"),
    [
        (refuse, DataError, "models/mtcnn/pnet.params: is damaged"),
        (partial(os._exit, 3), AgeGenderError, "--ray: 3 workers died one after the other while they started"),
    ],
)
def test_detector_that_does_not_open(
    ray_here: ModuleType, draw_files: DrawFiles, tmp_path: Path, make_detector: Any, kind: type, message: str
) -> None:
    faces = draw_files(8, template=None)
    with pytest.raises(AgeGenderError) as error:
        packed(faces, tmp_path / "ray", shards=1, ray_actors=1, make_detector=make_detector)
    assert type(error.value) is kind
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_no_worker_starts(ray_here: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another job has taken all cores, the run waits, but not for ever."""
    monkeypatch.setattr(ray_crew, "_START_SECONDS", 0.5)
    other = ray_here.remote(num_cpus=2)(Taking).remote()
    ray_here.get(other.there.remote())
    with pytest.raises(AgeGenderError, match=r"--ray: no worker has started within 0\.5 seconds \(are the cluster's"):
        packed(drawn(tmp_path / "seen", 8), tmp_path / "ray")
    ray_here.kill(other)


class Taking:
    """An actor of somebody else."""

    def there(self) -> bool:
        return True


def test_more_actors_than_cores(ray_here: ModuleType, draw_files: DrawFiles, tmp_path: Path) -> None:
    config = PackConfig(output=str(tmp_path / "ray"), image_size=SIZE, ray="local", ray_actors=3)
    with pytest.raises(UsageError, match=r"^--ray_actors 3: Ray has 2 cores here$"):
        packing.pack(draw_files(8), config)


def test_errors_of_ray_in_one_line() -> None:
    inner = DeviceError("no GPU 3")
    try:
        raise RuntimeError("a traceback\nof many lines") from inner
    except RuntimeError as error:
        assert (type(error_of_ray(error)), str(error_of_ray(error))) == (DeviceError, "no GPU 3")
    text = str(error_of_ray(OSError("first\nlast")))
    assert text == "Ray ended the job: OSError: last"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ray_actors", "2"], "--ray_actors 2: only with --ray (local, auto or HOST:PORT)"),
        (["--ray", "local", "--ray_actors", "0"], "--ray_actors 0 is not within 1..100000"),
    ],
)
def test_wrong_usage(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command_line = ["--synthetic", "8", "--output", str(tmp_path / "set"), "--lang", "en", *flags]
    assert run_command("pack", command_line, prog="create_dataset.py") == 2
    assert capsys.readouterr().err == f"create_dataset.py: error: {message}\n"
    assert not (tmp_path / "set").exists()


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    flags = ["--synthetic", "8", "--output", str(tmp_path / "set"), "--ray", "local", "--lang", "en"]
    assert run_command("pack", flags, prog="create_dataset.py") == 2
    assert capsys.readouterr().err == (
        f"create_dataset.py: error: the package ray is not installed in {sys.executable}; "
        "pip install -r requirements-ray.txt (or agegender[ray]) installs what is needed\n"
    )
    assert not (tmp_path / "set").exists()


def test_interrupt_and_resume(tmp_path: Path) -> None:
    """Ctrl-C, as a terminal sends it to all processes: two lines, no process left; going on gives the same bytes."""
    synthetic = ("--synthetic", 240, "--image_size", 32, "--shards", 2, "--lang", "en")
    line = command(*synthetic, "--output", tmp_path / "cut", "--ray", "local", "--ray_actors", 2)
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for_states(process, tmp_path / "cut", 1)  # Ray has started
        wait_for_states(process, tmp_path / "cut", 8)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines()[-3:] == [
        "nothing is lost: the same command with --resume goes on from here",
        "",
        "create_dataset.py: interrupted",
    ]
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [PARTIAL]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    resumed = subprocess.run(
        command(*synthetic, "--output", tmp_path / "cut", "--resume"), check=True, capture_output=True, text=True
    )
    assert "went on after " in resumed.stdout
    subprocess.run(command(*synthetic, "--output", tmp_path / "whole"), check=True, capture_output=True)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_no_cluster_there(tmp_path: Path) -> None:
    flags = ["--synthetic", "8", "--output", str(tmp_path / "set"), "--ray", "127.0.0.1:1", "--lang", "en"]
    code = "import sys; from agegender.app.cli import run_command\n"
    code += f"sys.exit(run_command('pack', {flags!r}, prog='create_dataset.py'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "create_dataset.py: error: --ray 127.0.0.1:1: no Ray cluster is there; ray start --head starts"
    )

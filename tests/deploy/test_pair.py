"""Two old nets as one: each with its own crops, colours and size, the age from one and the gender from the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.deploy.net import Net
from agegender.deploy.pair import Pair
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.face.align import warp
from agegender.face.detector import Detection
from agegender.face.preprocess import InputSpec
from agegender.face.templates import get_template
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import ModelInfo, info_path
from agegender.readout import Part, Readout
from agegender.resize import resize_crop
from tests import old_nets
from tools import convert

SOURCE = Path("m.json")


class Watched:
    """Keeps what goes through an executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.batches: list[npt.NDArray[np.float32]] = []

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        self.batches.append(data)
        return self.executor.forward(data)


class Fixed:
    """Gives the same outputs for every face."""

    def __init__(self, **outputs: list[float]) -> None:
        self._outputs = outputs

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        return {name: np.array([row] * len(data), np.float32) for name, row in self._outputs.items()}


def described(readout: Readout, spec: InputSpec, *, template: str = "arcface", size: int = 112) -> ModelInfo:
    return ModelInfo(
        task=readout.task,
        input=spec.to_info(),
        readout=readout.to_json(),
        template=get_template(template).to_json(size),
    )


AGE = Readout("ssr", age=Part(("pred_output",), "number"))
GENDER = Readout("ssr", gender=Part(("sex_output",), "number"), embedding="fc1_output")


@pytest.fixture(scope="module")
def old_age(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A net whose age is the mean of the first channel that goes in, on 8x8."""
    prefix = old_nets.mean_of_channel(tmp_path_factory.mktemp("age") / "model")
    target = prefix.with_name("copy")
    flags = ["--head_layout", "ssr", "--outputs", "age=pred", "--input_size", "8", "--constant", "stage_num0=0,0,0"]
    assert convert.main([str(prefix), *flags, "--output", str(target)]) == 0
    return Watched(open_executor(load_checkpoint(target), engine="mxnet", gpu_ids="cpu"))


@pytest.fixture(scope="module")
def old_gender(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A softmax that says male by 0.3, on 16x16."""
    prefix = old_nets.dex(tmp_path_factory.mktemp("gender") / "model", male=0.3, side=16)
    return Watched(open_executor(load_checkpoint(prefix), engine="mxnet", gpu_ids="cpu"))


@pytest.fixture(scope="module")
def photo() -> npt.NDArray[np.uint8]:
    """A red slope over a green one over noise: no two places look alike."""
    picture = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 160)[None]
    picture[..., 1] = np.linspace(0, 255, 120)[:, None]
    return picture


@pytest.fixture(scope="module")
def faces() -> list[Detection]:
    """Two faces of 48 and 64 pixels, upright."""
    points = np.array(get_template("arcface").points)
    return [
        Detection(np.array([x, y, x + side, y + side], np.float32), (points * side + (x, y)).astype(np.float32), 0.9)
        for x, y, side in ((10, 20, 48), (80, 30, 64))
    ]


def test_each_net_gets_its_own_crops(
    old_age: Watched, old_gender: Watched, photo: npt.NDArray[np.uint8], faces: list[Detection]
) -> None:
    spec = InputSpec((8, 8), "BGR", (127.5,) * 3, (2.0,) * 3)
    age = Net(described(AGE, spec), old_age, source=SOURCE)
    softmax = Readout("dex", gender=Part(("gender_prob_output",), "probabilities"))
    gender = Net(described(softmax, InputSpec((16, 16)), template="utkface", size=120), old_gender, source=SOURCE)
    pair = Pair(age=age, gender=gender)
    reading = pair.read(pair.crop(photo, faces))

    crops = [warp(photo, face.landmarks, get_template("arcface"), size=112) for face in faces]
    small = np.stack([resize_crop(crop, (8, 8)) for crop in crops]).astype(np.float32)
    [batch] = old_age.batches[-1:]
    assert np.array_equal(batch, ((small[..., ::-1] - 127.5) * 2).transpose(0, 3, 1, 2))
    other = [warp(photo, face.landmarks, get_template("utkface"), size=120) for face in faces]
    [batch] = old_gender.batches[-1:]
    assert np.array_equal(batch, np.stack([resize_crop(crop, (16, 16)) for crop in other]).transpose(0, 3, 1, 2))

    # The first channel of BGR is blue.
    assert reading.age is not None and reading.gender is not None
    expected = np.maximum((small[..., 2].mean(axis=(1, 2)) - 127.5) * 2, 0)  # nobody is younger than 0
    assert reading.age == pytest.approx(expected, abs=1e-3)
    assert np.allclose(reading.gender, [[0.7, 0.3]] * 2, atol=1e-6)
    assert (reading.distribution, reading.embedding) == (None, None)


def test_faces_of_several_photos_in_one_batch(old_age: Watched, photo: npt.NDArray[np.uint8], faces: Any) -> None:
    age = Net(described(AGE, InputSpec((8, 8))), old_age, source=SOURCE)
    gender = Net(
        described(GENDER, InputSpec((4, 4)), template="utkface"),
        Fixed(sex_output=[0.75], fc1_output=[1, 2]),
        source=SOURCE,
    )
    pair = Pair(age=age, gender=gender)
    together = pair.read([*pair.crop(photo, faces), *pair.crop(photo[::-1].copy(), faces[:1])])
    assert together.age is not None and together.age.shape == (3,)
    alone = pair.read(pair.crop(photo, faces[1:]))
    assert alone.age is not None and alone.age[0] == pytest.approx(together.age[1], abs=1e-3)
    assert together.embedding is not None and together.embedding.tolist() == [[1, 2]] * 3


def test_nets_of_one_template_share_the_crops(old_age: Watched, photo: npt.NDArray[np.uint8], faces: Any) -> None:
    age = Net(described(AGE, InputSpec((8, 8))), old_age, source=SOURCE)
    gender = Net(described(GENDER, InputSpec((4, 4))), Fixed(sex_output=[0.75]), source=SOURCE)
    pair = Pair(age=age, gender=gender)
    crops = pair.crop(photo, faces)
    assert [crop.shape for crop in crops] == [(112, 112, 3)] * 2
    reading = pair.read(crops)
    assert reading.gender is not None and reading.gender.tolist() == [[0.25, 0.75]] * 2
    [whole] = pair.crop(photo, None)
    assert np.array_equal(whole, resize_crop(photo, (112, 112)))


def test_a_crop_is_not_in_two_templates(photo: npt.NDArray[np.uint8]) -> None:
    age = Net(described(AGE, InputSpec((8, 8))), Fixed(pred_output=[30]), source=SOURCE)
    gender = Net(described(GENDER, InputSpec((8, 8)), template="utkface"), Fixed(sex_output=[1]), source=SOURCE)
    pair = Pair(age=age, gender=gender)
    assert (pair.template, pair.template_size) == (get_template("arcface"), 112)
    with pytest.raises(UsageError) as error:
        pair.crop(photo, None)
    assert str(error.value) == (
        "the age net wants 'arcface' crops, the gender net 'utkface': no crop is both, so faces have to be detected "
        "(a --detector other than none)"
    )
    with pytest.raises(UsageError, match=r"no crop is both$"):
        pair.read([photo])


def test_nets_that_do_not_tell_what_they_are_here_for() -> None:
    age = Net(described(AGE, InputSpec((8, 8))), Fixed(), source=Path("a.json"))
    gender = Net(described(GENDER, InputSpec((8, 8))), Fixed(), source=Path("g.json"))
    with pytest.raises(UsageError, match=r"^--age_model: the net of g\.json tells no age, only the gender$"):
        Pair(age=gender, gender=gender)
    with pytest.raises(UsageError, match=r"^--gender_model: the net of a\.json tells no gender, only the age$"):
        Pair(age=age, gender=age)


def test_one_of_ours_can_be_half_of_a_pair(untrained_model: Path, photo: npt.NDArray[np.uint8], faces: Any) -> None:
    checkpoint = load_checkpoint(untrained_model)
    own = Net(checkpoint.info, open_executor(checkpoint, gpu_ids="cpu"), source=info_path(checkpoint.prefix))
    gender = Net(described(GENDER, InputSpec((4, 4)), template="utkface"), Fixed(sex_output=[0.0]), source=SOURCE)
    both = own.read(own.crop(photo, faces))
    pair = Pair(age=own, gender=gender)
    joined = pair.read(pair.crop(photo, faces))
    for name in ("age", "distribution", "embedding"):
        assert np.array_equal(getattr(joined, name), getattr(both, name))
    assert joined.gender is not None and joined.gender.tolist() == [[1, 0]] * 2


@pytest.mark.parametrize(
    ("info", "error", "message"),
    [
        (None, CheckpointError, "m.json does not exist: without it nobody knows which crops the model was trained on"),
        (ModelInfo(), CheckpointError, "m.json lacks the input shape of the model"),
        (
            ModelInfo(input={"shape": [3, 8, 8]}),
            UsageError,
            "m.json doesn't say which crops the model was trained on; name them: --template arcface|utkface",
        ),
        (
            ModelInfo(input={"shape": [3, 8, 8], "colour": "YUV"}, template=get_template("arcface").to_json(112)),
            CheckpointError,
            "m.json: input.colour is 'YUV' (RGB, BGR)",
        ),
        (
            ModelInfo(head="ordinal", input={"shape": [3, 8, 8]}, template=get_template("arcface").to_json(112)),
            CheckpointError,
            "m.json: head is 'ordinal' (dex, ssr, reg, bins), and no readout says what the outputs mean",
        ),
    ],
)
def test_incomplete_descriptions(info: ModelInfo | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        Net(info, Fixed(), source=SOURCE)
    assert str(raised.value).startswith(message)

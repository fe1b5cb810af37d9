"""A predictor that asks its net several times, with the shipped model on a photograph."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from agegender.calibration import Calibration
from agegender.deploy import Predictor
from agegender.deploy.net import calibrated
from agegender.doubt import Doubt, entropy
from agegender.errors import UsageError
from agegender.face.photo import read_photo
from agegender.readout import Reading
from agegender.resize import resize_crop

ENGINES = ("onnxruntime", "torch", "mxnet")
PASSES = 16


@pytest.fixture(scope="module")
def crop(root: Path) -> npt.NDArray[np.uint8]:
    """A face of the test photo, roughly in the template."""
    return resize_crop(np.ascontiguousarray(read_photo(root / "test.jpg")[60:210, 150:300]), (112, 112))


@pytest.fixture(scope="module")
def model(root: Path) -> str:
    return str(root / "models" / "ssrnet" / "ssrnet")


def test_means_and_doubt_are_alike_on_every_executor(model: str, crop: npt.NDArray[np.uint8]) -> None:
    how = {"detector": None, "gpu_ids": "cpu", "mc_dropout": PASSES, "seed": 3}
    faces = [Predictor(model, engine=engine, **how).predict(crop)[0].to_json(distribution=True) for engine in ENGINES]
    for face in faces[1:]:
        assert face.keys() == faces[0].keys()
        for name in ("age", "age_deviation", "age_entropy", "gender_entropy", "gender_probability"):
            assert face[name] == pytest.approx(faces[0][name], abs=0.11 if name == "age" else 2e-3)
    assert json.loads(json.dumps(faces[0])) == faces[0]
    assert 0 < faces[0]["age_deviation"] < 10 and 2 < faces[0]["age_entropy"] < 6.66


def test_the_interval_and_the_embedding_are_the_plain_nets(model: str, crop: npt.NDArray[np.uint8]) -> None:
    how = {"detector": None, "gpu_ids": "cpu", "engine": "torch"}
    [plain] = Predictor(model, **how).predict(crop)
    [several] = Predictor(model, mc_dropout=PASSES, **how).predict(crop)
    assert several.age_interval == pytest.approx(plain.age_interval, abs=1e-3)
    np.testing.assert_allclose(several.embedding, plain.embedding, atol=1e-4)
    assert several.age != plain.age and several.age == pytest.approx(plain.age, abs=4)
    assert (plain.age_deviation, plain.age_entropy, plain.gender_entropy) == (None, None, None)
    assert not {"age_deviation", "age_entropy", "gender_entropy"} & plain.to_json().keys()
    # A face's answer does not depend on those around it, and is the same the next time.
    predictor = Predictor(model, mc_dropout=PASSES, **how)
    others = predictor.predict([crop, crop[::-1], crop])
    assert others[0][0].age == pytest.approx(several.age, abs=1e-3)
    assert others[2][0].age_deviation == pytest.approx(several.age_deviation, abs=1e-3)


def test_the_genders_entropy_is_that_of_the_probability_that_is_told() -> None:
    gender = np.array([[0.9, 0.1]], np.float32)
    reading = calibrated(Reading(gender=gender, doubt=Doubt()), Calibration(gender_temperature=2))
    assert reading.gender is not None and reading.gender[0, 0] == pytest.approx(0.75, abs=1e-3)
    assert reading.doubt is not None and reading.doubt.gender_entropy == pytest.approx(entropy(reading.gender))


def test_a_pair_has_the_doubt_of_both(model: str, crop: npt.NDArray[np.uint8]) -> None:
    how = {"detector": None, "gpu_ids": "cpu", "engine": "torch", "mc_dropout": PASSES}
    [one] = Predictor(model, **how).predict(crop)
    [pair] = Predictor(age_model=model, gender_model=model, **how).predict(crop)
    for name in ("age_deviation", "age_entropy", "gender_entropy"):
        assert getattr(pair, name) == pytest.approx(getattr(one, name), abs=1e-4)
    assert pair.age_interval == pytest.approx(one.age_interval, abs=1e-3)


def test_what_has_no_dropout_is_refused(root: Path, model: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mc_dropout 8: .*m50-0001\.params is of a network without dropout"):
        Predictor(str(root / "models" / "m50" / "m50"), mc_dropout=8, detector=None, engine="torch", gpu_ids="cpu")
    exported = tmp_path / "net.onnx"
    with pytest.raises(UsageError, match=r"net\.onnx holds no dropout any more .* name the checkpoint .* PREFIX,EPOCH"):
        Predictor(exported, mc_dropout=8, detector=None)
    reader = Predictor(model, detector=None, engine="torch", gpu_ids="cpu").reader
    with pytest.raises(UsageError, match="mc_dropout 8 is for a model that is opened by its name or path"):
        Predictor(reader, mc_dropout=8, detector=None)
    with pytest.raises(UsageError, match="mc_dropout 0: at least 2 passes"):
        Predictor(model, mc_dropout=0, detector=None, engine="torch", gpu_ids="cpu")


def test_what_is_not_told_is_not_written(model: str, crop: npt.NDArray[np.uint8]) -> None:
    [face] = Predictor(model, mc_dropout=2, detector=None, engine="torch", gpu_ids="cpu").predict(crop)
    told = dataclasses.replace(face, age_deviation=None).to_json()
    assert "age_deviation" not in told and {"age_entropy", "gender_entropy"} <= told.keys()

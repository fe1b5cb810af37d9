"""What goes in and comes out, for OpenAPI and for reading the query."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
_MOST_FACE = 100_000


class EmbeddingsQuery(BaseModel):
    """Which faces are looked for."""

    model_config = ConfigDict(extra="forbid")

    min_score: Annotated[float, Field(ge=0, le=1, description="leave out faces whose detection score is lower")] = 0
    min_face: Annotated[
        float | None,
        Field(ge=12, le=_MOST_FACE, description="smallest face in pixels; not below what the service looks for"),
    ] = None


class AnalyzeQuery(EmbeddingsQuery):
    """Which faces are looked for, and what is told of them."""

    min_confidence: Annotated[
        float | None, Field(ge=0, le=1, description="leave a gender out (null) whose probability is lower")
    ] = None
    distribution: Annotated[bool, Field(description="add the probability of each age 0..100")] = False
    annotated: Annotated[
        Literal["none", "jpeg", "png"], Field(description="add the picture with boxes and labels, base64")
    ] = "none"
    lang: Annotated[Literal["en", "zh"], Field(description="language of the labels in the picture")] = "en"


class VectorsQuery(BaseModel):
    """What is told of embeddings."""

    model_config = ConfigDict(extra="forbid")

    min_confidence: Annotated[
        float | None, Field(ge=0, le=1, description="leave a gender out (null) whose probability is lower")
    ] = None
    distribution: Annotated[bool, Field(description="add the probability of each age 0..100")] = False


class Problem(BaseModel):
    """Why something was not answered: a word for programs, a line for people."""

    cause: str
    message: str


class Failure(BaseModel):
    """The answer to a request that is refused; ``images`` where it was understood but its photo was not."""

    error: Problem
    images: list[dict[str, Any]] | None = None


class Place(BaseModel):
    """Where a face is, in pixels of the upright photo: x1, y1, x2, y2, five points x, y, and the detector's score."""

    box: Annotated[list[Number], Field(min_length=4, max_length=4)]
    landmarks: Annotated[list[list[Number]], Field(min_length=5, max_length=5)]
    score: Annotated[float, Field(ge=0, le=1)]


class Told(BaseModel):
    """What the model tells; null where it doesn't. ``age_interval`` holds the age with probability 0.8."""

    gender: Literal["female", "male"] | None
    gender_probability: Annotated[float, Field(ge=0, le=1)] | None
    age: Number | None
    age_interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None
    age_distribution: list[Number] | None = None


class AnalyzedFace(Told, Place):
    """A face with age and gender."""


class EmbeddedFace(Place):
    """A face with its embedding, the net's ``fc1``."""

    embedding: list[Number]


class Annotated64(BaseModel):
    """A picture with boxes and labels, as base64."""

    media_type: Literal["image/jpeg", "image/png"]
    data: str


class ImageAnswer(BaseModel):
    """One photo: which (``sha256`` of the bytes as received), its size upright in pixels, milliseconds by stage.

    ``error`` in place of ``faces`` for a photo that could not be read beside others that could.
    """

    index: int
    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    width: int | None = None
    height: int | None = None
    timing: dict[str, float] | None = None
    error: Problem | None = None


class AnalyzedImage(ImageAnswer):
    """One photo, analysed."""

    faces: list[AnalyzedFace] | None = None
    annotated: Annotated64 | None = None


class EmbeddedImage(ImageAnswer):
    """One photo with the embeddings of its faces."""

    faces: list[EmbeddedFace] | None = None


class AnalyzeAnswer(BaseModel):
    """The photos in the order they were sent, and the model that looked at them."""

    model: str
    images: list[AnalyzedImage]


class EmbeddingsAnswer(BaseModel):
    """The photos in the order they were sent, and the model that looked at them."""

    model: str
    images: list[EmbeddedImage]


class ToldVector(Told):
    """What is told of an embedding. Entropies are in bits."""

    gender_entropy: Annotated[float, Field(ge=0)] | None
    age_entropy: Annotated[float, Field(ge=0)] | None


class VectorsAnswer(BaseModel):
    """The embeddings in the order they were sent, and the digest of the body."""

    model: str
    sha256: str
    faces: list[ToldVector]


class ServedModel(BaseModel):
    """A model that is served: what goes in (a picture or an embedding) and what it tells."""

    name: str
    input: Literal["picture", "embedding"]
    shape: list[int]
    template: str | None
    tells: list[Literal["age", "gender", "distribution", "embedding"]]


class ModelsAnswer(BaseModel):
    """The models, the detector, and the limits of the service."""

    version: str
    detector: str
    models: list[ServedModel]
    limits: dict[str, float]


class Health(BaseModel):
    """``ok``, or what is wrong."""

    status: str
    problems: list[str] = []

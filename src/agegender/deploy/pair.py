"""Two nets as one: the age from this, the gender from that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.net import Net
from agegender.errors import UsageError
from agegender.face.detector import Detection
from agegender.readout import Reading

Photo = npt.NDArray[np.uint8]


class Pair:
    """The age and its distribution from the net ``age``, the gender from the net ``gender``, the embedding from either.

    Each gets its own crops, of its own template and size, and its own batch; what else a net tells is left out.
    ``template`` is that of the age net. Raises UsageError where a net doesn't tell what it is here for.
    """

    def __init__(self, *, age: Net, gender: Net) -> None:
        if not age.readout.tells_age:
            raise UsageError(f"--age_model: the net of {age.source} tells no age, only the gender")
        if not gender.readout.tells_gender:
            raise UsageError(f"--gender_model: the net of {gender.source} tells no gender, only the age")
        self.age, self.gender = age, gender
        self.template, self.template_size = age.template, age.template_size
        # Points alone decide where a face lies in a crop; a template's name is only what people call it.
        self._same_template = age.template.points == gender.template.points
        self._same_crops = self._same_template and age.template_size == gender.template_size

    def crop(self, image: Photo, detections: Sequence[Detection] | None) -> list[Any]:
        """Return what ``read`` takes, one item per face of ``image`` (H, W, 3) uint8 RGB.

        None for ``detections`` means that the photo is a crop, which it can only be where both nets have the same
        template: UsageError otherwise.
        """
        if self._same_crops:
            return self.age.crop(image, detections)
        if detections is None and not self._same_template:
            raise UsageError(
                f"the age net wants {self.age.template.name!r} crops, the gender net {self.gender.template.name!r}: "
                "no crop is both, so faces have to be detected (a --detector other than none)"
            )
        return list(zip(self.age.crop(image, detections), self.gender.crop(image, detections), strict=True))

    def read(self, crops: Sequence[Any]) -> Reading:
        """Return what the two tell of n > 0 faces, each a batch of its own.

        ``crops`` are those of ``crop``, or plain crops (h, w, 3) uint8 RGB where both nets have the same template:
        UsageError otherwise.
        """
        if isinstance(crops[0], tuple):
            ages, genders = ([crop[net] for crop in crops] for net in (0, 1))
        elif self._same_template:
            ages = genders = list(crops)
        else:
            raise UsageError(
                f"the age net wants {self.age.template.name!r} crops, the gender net {self.gender.template.name!r}: "
                "no crop is both"
            )
        years, sex = self.age.read(ages), self.gender.read(genders)
        embedding = years.embedding if years.embedding is not None else sex.embedding
        return Reading(
            gender=sex.gender,
            age=years.age,
            distribution=years.distribution,
            interval=years.interval,
            embedding=embedding,
            **_passes(years, sex),
        )


def _passes(age: Reading, gender: Reading) -> dict[str, Any]:
    """Return ``doubt`` and ``plain`` of both together, nothing where each is of one pass."""
    if age.doubt is None or gender.doubt is None or age.plain is None or gender.plain is None:
        return {}
    doubt = dataclasses.replace(age.doubt, gender_entropy=gender.doubt.gender_entropy)
    return {"doubt": doubt, "plain": dataclasses.replace(age.plain, gender=gender.plain.gender)}

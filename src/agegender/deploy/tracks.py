"""Faces over time: which face of this frame is which person of the last one, and what all its frames together say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agegender.age_distribution import age_interval
from agegender.calibration import is_confident
from agegender.deploy.face import Face
from agegender.face.detector import intersection_over_union
from agegender.labels import MAX_AGE

Floats = npt.NDArray[np.float64]

# From this side on, in pixels, a larger face tells the model no more.
_SIDE_ENOUGH = 80.0
# Within how many seconds a velocity forgets what was before.
_VELOCITY_SECONDS = 0.2
# A face that was lost for a while may be this many of its sides away, plus so many a second.
_REACH, _REACH_PER_SECOND = 0.5, 1.5
# Two who pass each other are so many sides apart at most, and their velocities so many sides a second at least.
_NEIGHBOUR, _VELOCITIES_APART = 1.5, 1.0
_FORBIDDEN = 1e6


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """When a detection belongs to a track, and when tracks begin and end.

    ``overlap``: the least intersection over union with where the track is expected. ``likeness``: the least cosine of
    the embeddings by which a face that overlaps less is known again. ``patience``: seconds after which a face that
    isn't found any more has left. ``sure``: the detector's score from which one detection is enough for a new track,
    where it overlaps no other by as much as ``overlap``; the rest need a second. ``min_confidence``: see
    ``FaceAverage``. The embedding is trained on age and gender, not on identity: measured with ssrnet on group photos,
    the same face under noise, blur and turning has a cosine of 0.91 (median; below 0.69 one in twenty), two faces 0.59
    (above 0.79 one in twenty).
    """

    overlap: float = 0.2
    likeness: float = 0.75
    patience: float = 1.5
    sure: float = 0.95
    min_confidence: float = 0.0


class FaceAverage:
    """The weighted mean of what a model said of one person: gender probability, age distribution, age, embedding.

    The interval is that of the mean distribution, corrected as the model's calibration corrected those of the single
    faces on average. A mean gender probability below ``min_confidence`` tells no gender.
    """

    def __init__(self, *, min_confidence: float = 0.0) -> None:
        self._min_confidence = min_confidence
        self._weights: dict[str, float] = {}
        self._sums: dict[str, Floats] = {}

    def add(self, face: Face) -> None:
        """Let ``face`` count as much as its detection score and, up to 80 pixels, its size."""
        weight = face.score * min(1.0, _side(face.box) / _SIDE_ENOUGH)
        if face.gender is not None and face.gender_probability is not None:
            male = face.gender_probability if face.gender == "male" else 1 - face.gender_probability
            self._add("male", male, weight)
        if face.age is not None:
            self._add("age", face.age, weight)
        mass, ends = face.age_distribution, face.age_interval
        if mass is not None:
            self._add("mass", mass, weight)
        if ends is not None:
            own = 0.0 if mass is None else age_interval(mass[None])[0]
            self._add("ends", np.asarray(ends) - own, weight)
        embedding = unit_embedding(face)
        if embedding is not None:
            self._add("embedding", embedding, weight)

    @property
    def embedding(self) -> Floats | None:
        """The mean embedding (k,), of length 1; None where no face had one."""
        return None if "embedding" not in self._sums else _unit(self._sums["embedding"])

    def apply(self, face: Face) -> Face:
        """Return ``face`` with the mean gender, age, interval and distribution instead of its own."""
        male, age, mass, ends = (self._mean(name) for name in ("male", "age", "mass", "ends"))
        if ends is not None:
            ends = np.clip(ends + (0.0 if mass is None else age_interval(mass[None])[0]), 0, MAX_AGE)
        pair = None if male is None else np.array([1 - male, male])
        gender = None
        if pair is not None and is_confident(pair, self._min_confidence):
            gender = "male" if pair[1] > 0.5 else "female"
        return replace(
            face,
            gender=gender,
            gender_probability=None if pair is None else float(pair.max()),
            age=None if age is None else float(age),
            age_interval=None if ends is None else (float(ends[0]), float(ends[1])),
            age_distribution=None if mass is None else mass.astype(np.float32),
        )

    def _add(self, name: str, value: npt.ArrayLike, weight: float) -> None:
        self._weights[name] = self._weights.get(name, 0.0) + weight
        self._sums[name] = self._sums.get(name, np.float64(0)) + weight * np.asarray(value, np.float64)

    def _mean(self, name: str) -> Floats | None:
        return None if not self._weights.get(name) else self._sums[name] / self._weights[name]


class Track:
    """One person. ``number`` counts from 1, None until the track is sure; ``first`` and ``last`` in seconds."""

    def __init__(self, face: Face, seconds: float, *, min_confidence: float = 0.0) -> None:
        self.number: int | None = None
        self.first = self.last = seconds
        self.hits, self.misses = 1, 0
        self.held = True
        self.box = np.asarray(face.box, np.float64)
        self.landmarks = np.asarray(face.landmarks, np.float64)
        self.average = FaceAverage(min_confidence=min_confidence)
        self.average.add(face)
        self._face, self._moving = face, seconds
        self._velocity: Floats = np.zeros(2)

    def found(self, face: Face, seconds: float) -> None:
        """Take a detection at ``seconds`` that is this person."""
        passed = max(seconds - self.last, 1e-6)
        velocity = (_centre(face.box) - _centre(self._face.box)) / passed
        # The first motion is all that is known; later ones are averaged.
        fresh = 1.0 if self.hits == 1 else 1 - float(np.exp(-passed / _VELOCITY_SECONDS))
        self._velocity = self._velocity + fresh * (velocity - self._velocity)
        self.hits, self.misses, self.held = self.hits + 1, 0, True
        self.last = self._moving = seconds
        self._face = face
        self.box, self.landmarks = np.asarray(face.box, np.float64), np.asarray(face.landmarks, np.float64)
        self.average.add(face)

    def missed(self, seconds: float) -> None:
        """Take it that the detector didn't find this person at ``seconds``."""
        self.misses += 1
        if self.misses > 1:
            # What was followed since may be who or what covers the face; its own motion is a better guess.
            self._shift(_centre(self.expected(seconds)) - _centre(self.box), held=False)

    def carry(self, seconds: float, motion: Floats | None) -> None:
        """Move box and landmarks to where they are at ``seconds``.

        ``motion`` is the (2, 3) matrix that the picture moves by; None: the face was lost sight of, and goes on as fast
        as it was.
        """
        if motion is None:
            self._shift((seconds - self._moving) * self._velocity, held=False)
        else:
            self.box = (self.box.reshape(2, 2) @ motion[:, :2].T + motion[:, 2]).reshape(4)
            self.landmarks = self.landmarks @ motion[:, :2].T + motion[:, 2]
            self.held = True
        self._moving = seconds

    def goes_with(self, motion: Floats | None, others: Sequence[Track], seconds: float) -> bool:
        """Tell whether ``motion``, until ``seconds``, is rather that of a neighbour who passes in front."""
        centre, side = _centre(self.box), _side(self.box)
        for other in others:
            apart = other._velocity - self._velocity
            near = float(np.linalg.norm(_centre(other.box) - centre)) < _NEIGHBOUR * side
            if motion is not None and near and float(np.linalg.norm(apart)) > _VELOCITIES_APART * side:
                velocity = (motion[:, :2] @ centre + motion[:, 2] - centre) / max(seconds - self._moving, 1e-6)
                if float((velocity - (other._velocity + self._velocity) / 2) @ apart) > 0:
                    return True
        return False

    def expected(self, seconds: float) -> Floats:
        """Return the box (4,) that the last detection has moved to by ``seconds``, going as fast as it was."""
        shift = (seconds - self.last) * self._velocity
        return np.asarray(self._face.box, np.float64) + np.tile(shift, 2)

    @property
    def score(self) -> float:
        """The detector's score of the last detection."""
        return self._face.score

    @property
    def followed(self) -> bool:
        """Whether the picture's motion says where the face is, rather than its last velocity."""
        return self.misses <= 1

    @property
    def shown(self) -> bool:
        """Whether the person is to be seen in this frame, as far as is known."""
        return self.number is not None and self.held and self.misses <= 1

    def face(self) -> Face:
        """Return the face where it is now, with the averages over the track."""
        moved = replace(self._face, box=self.box.astype(np.float32), landmarks=self.landmarks.astype(np.float32))
        return self.average.apply(moved)

    def _shift(self, step: Floats, *, held: bool) -> None:
        self.box = self.box + np.tile(step, 2)
        self.landmarks = self.landmarks + step
        self.held = held


class Tracker:
    """Gives each face of a video its track. Numbers are given in the order in which tracks become sure."""

    def __init__(self, rules: TrackRules | None = None) -> None:
        self.rules = rules or TrackRules()
        self.tracks: list[Track] = []
        # Those who left: about two kilobytes a person.
        self.ended: list[Track] = []
        self._numbers = 0

    def carry(self, seconds: float, motions: Mapping[int, Floats | None]) -> None:
        """Move all tracks on to ``seconds``: by ``motions[index]`` (see ``Track.carry``), else by their velocity."""
        covered = [track.goes_with(motions.get(index), self.tracks, seconds) for index, track in enumerate(self.tracks)]
        for index, track in enumerate(self.tracks):
            track.carry(seconds, None if covered[index] else motions.get(index))

    def update(self, faces: Sequence[Face], seconds: float) -> None:
        """Take what the detector found at ``seconds``; ``carry`` comes first."""
        pairs = self._assign(faces, seconds)
        for index, track in enumerate(self.tracks):
            if index in pairs:
                track.found(faces[pairs[index]], seconds)
            else:
                track.missed(seconds)
        taken = set(pairs.values())
        new = [face for place, face in enumerate(faces) if place not in taken]
        self.tracks += [Track(face, seconds, min_confidence=self.rules.min_confidence) for face in new]
        for track in self.tracks:
            if track.number is None and (track.hits > 1 or self._sure(track)):
                self._numbers += 1
                track.number = self._numbers
        self._end(seconds)

    def shown(self) -> list[Track]:
        """Return the tracks whose faces are to be seen now, by number."""
        return sorted((track for track in self.tracks if track.shown), key=lambda track: track.number or 0)

    def all(self) -> list[Track]:
        """Return all sure tracks, those that ended included, by number."""
        sure = [track for track in (*self.ended, *self.tracks) if track.number is not None]
        return sorted(sure, key=lambda track: track.number or 0)

    def _touching(self, track: Track) -> list[Track]:
        """Return the tracks whose boxes overlap with the track's."""
        others = [other for other in self.tracks if other is not track]
        return [other for other in others if intersection_over_union(track.box, other.box) >= self.rules.overlap]

    def _sure(self, track: Track) -> bool:
        """Tell whether a new track needs no second detection: detectors see some faces twice, but seldom for long."""
        return track.score >= self.rules.sure and not self._touching(track)

    def _end(self, seconds: float) -> None:
        def left(track: Track) -> bool:
            if track.number is None:
                return track.misses > 0
            return track.misses > 1 and seconds - track.last > self.rules.patience

        self.ended += [track for track in self.tracks if left(track) and track.number is not None]
        self.tracks = [track for track in self.tracks if not left(track)]

    def _assign(self, faces: Sequence[Face], seconds: float) -> dict[int, int]:
        """Return which face (value) belongs to which track (key): the pairs of least total cost among those allowed."""
        # Here: scipy takes longer to load than most commands take.
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

        if not faces or not self.tracks:
            return {}
        cost = np.array([[self._cost(track, face, seconds) for face in faces] for track in self.tracks])
        rows, columns = linear_sum_assignment(cost)
        return {int(row): int(column) for row, column in zip(rows, columns) if cost[row, column] < _FORBIDDEN}

    def _cost(self, track: Track, face: Face, seconds: float) -> float:
        """Return what it costs to take ``face`` for ``track``: 0 where place and looks agree."""
        expected = track.expected(seconds)
        overlap = max(intersection_over_union(box, face.box) for box in (track.box, expected))
        mean, own = track.average.embedding, unit_embedding(face)
        alike = None if mean is None or own is None or mean.shape != own.shape else float(mean @ own)
        if overlap < self.rules.overlap and not (
            alike is not None and alike >= self.rules.likeness and _near(track, face, expected, seconds)
        ):
            return _FORBIDDEN
        return 1 - overlap + (0.0 if alike is None else 1 - alike)


def unit_embedding(face: Face) -> Floats | None:
    """Return the embedding of ``face`` (k,) at length 1; None where the model gave none."""
    return None if face.embedding is None else _unit(face.embedding)


def _near(track: Track, face: Face, expected: Floats, seconds: float) -> bool:
    """Tell whether the person could have gone to ``face`` since the last detection, and is about as large."""
    side = _side(expected)
    reach = (_REACH + _REACH_PER_SECOND * (seconds - track.last)) * side
    distance = min(float(np.linalg.norm(_centre(face.box) - _centre(box))) for box in (track.box, expected))
    return distance <= reach and 0.6 <= _side(face.box) / side <= 1 / 0.6


def _unit(vector: npt.ArrayLike) -> Floats:
    values = np.asarray(vector, np.float64)
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12))


def _centre(box: npt.ArrayLike) -> Floats:
    corners = np.asarray(box, np.float64)
    return np.asarray((corners[:2] + corners[2:]) / 2)


def _side(box: npt.ArrayLike) -> float:
    corners = np.asarray(box, np.float64)
    return float(np.sqrt(np.maximum(corners[2:] - corners[:2], 1e-6).prod()))

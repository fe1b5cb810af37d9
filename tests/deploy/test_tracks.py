"""Faces over time: who is who, when tracks begin and end, what their averages say, and how often is looked."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.age_distribution import age_interval
from agegender.deploy.face import Face
from agegender.deploy.pursuit import RealTime, Steady
from agegender.deploy.tracks import FaceAverage, Tracker, TrackRules, intersection_over_union

pytestmark = pytest.mark.quick
FPS = 25


def face(
    x: float, y: float = 100, *, side: float = 50, age: float = 30, male: float = 0.9, score: float = 1, looks=None
) -> Face:
    mass = np.exp(-((np.arange(101) - age) ** 2) / 50)
    mass = (mass / mass.sum()).astype(np.float32)
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    return Face(
        box=box,
        landmarks=np.tile([x, y], (5, 1)).astype(np.float32),
        score=score,
        gender="male" if male > 0.5 else "female",
        gender_probability=max(male, 1 - male),
        age=float(mass @ np.arange(101)),
        age_interval=tuple(age_interval(mass[None])[0] + (-2, 3)),  # as a calibration would widen it
        age_distribution=mass,
        embedding=None if looks is None else np.asarray(looks, np.float32),
    )


def looks(rng: np.random.Generator, person: int) -> np.ndarray:
    """An embedding: the same person's are alike (cosine about 0.9), others' less (about 0.6)."""
    common, own = np.random.default_rng(99), np.random.default_rng(person)
    return 1.2 * common.normal(size=64) + own.normal(size=64) + 0.4 * rng.normal(size=64)


def run(tracker: Tracker, frames: list[list[Face]]) -> list[dict[int, float]]:
    """Give each frame to the tracker; the shown tracks as {number: x of the box's centre}."""
    shown = []
    for index, faces in enumerate(frames):
        tracker.carry(index / FPS, {})
        tracker.update(faces, index / FPS)
        shown.append({track.number: float(track.box[[0, 2]].mean()) for track in tracker.shown()})
    return shown


@pytest.mark.parametrize("with_looks", [True, False])
def test_a_crossing_with_five_frames_of_occlusion_swaps_nobody(with_looks: bool) -> None:
    rng = np.random.default_rng(3)
    frames, truth = [], []
    for index in range(60):
        places = [60 + 6 * index, 414 - 6 * index]
        truth.append(places)
        hidden = abs(places[0] - places[1]) < 34  # the second is behind the first
        faces = [
            face(x + rng.normal(0, 1), looks=looks(rng, person) if with_looks else None)
            for person, x in enumerate(places)
            if not (person == 1 and hidden)
        ]
        frames.append(faces)
    assert sum(len(faces) == 1 for faces in frames) >= 5
    tracker = Tracker()
    shown = run(tracker, frames)
    assert [track.number for track in tracker.all()] == [1, 2]
    for places, seen in zip(truth, shown, strict=True):
        for number, x in seen.items():
            assert abs(x - places[number - 1]) < 8


def test_looks_tell_two_apart_who_changed_places_unseen() -> None:
    rng = np.random.default_rng(5)
    before = [[face(100, looks=looks(rng, 1)), face(150, looks=looks(rng, 2))] for _ in range(10)]
    after = [[face(122, looks=looks(rng, 2)), face(128, looks=looks(rng, 1))] for _ in range(10)]
    last = run(Tracker(), [*before, *[[]] * 8, *after])[-1]
    assert {number: round(x) for number, x in last.items()} == {1: 128, 2: 122}
    blind = [[face(x) for x in (100, 150)]] * 10 + [[]] * 8 + [[face(x) for x in (122, 128)]] * 10
    assert {number: round(x) for number, x in run(Tracker(), blind)[-1].items()} == {1: 122, 2: 128}


def test_a_lost_face_is_known_again_nearby_only_by_its_looks() -> None:
    rng = np.random.default_rng(6)
    for person, numbers in ((1, {1}), (2, {2})):
        frames = [[face(100, looks=looks(rng, 1))]] * 10 + [[]] * 10 + [[face(150, looks=looks(rng, person))]] * 2
        assert set(run(Tracker(), frames)[-1]) == numbers


def test_one_sure_detection_is_enough_and_an_unsure_one_is_not() -> None:
    assert run(Tracker(), [[face(100, score=0.99)]]) == [{1: 100}]
    assert [set(seen) for seen in run(Tracker(), [[face(100, score=0.9)]] * 2)] == [set(), {1}]
    tracker = Tracker()
    run(tracker, [[face(100, score=0.9)], [], [face(100, score=0.9)], []])
    assert tracker.all() == tracker.tracks == []


def test_a_face_seen_twice_for_one_frame_is_no_second_person() -> None:
    tracker = Tracker()
    frames = [[face(100)]] * 4
    frames[2] = [face(100), face(110, 120, side=60)]
    assert intersection_over_union(frames[2][0].box, frames[2][1].box) > 0.2
    assert [set(seen) for seen in run(tracker, frames)] == [{1}] * 4
    assert len(tracker.all()) == 1


def test_who_was_gone_for_longer_than_patience_comes_back_as_another() -> None:
    for gone, numbers in ((30, [1]), (45, [1, 2])):
        tracker = Tracker(TrackRules(patience=1.5))
        shown = run(tracker, [[face(100)]] * 5 + [[]] * gone + [[face(100)]])
        assert [track.number for track in tracker.all()] == numbers
        # One miss may be the detector's fault, a second is not.
        assert [len(seen) for seen in shown[:8]] == [1] * 5 + [0] * 3
        assert tracker.all()[0].last == pytest.approx(4 / FPS if len(numbers) == 2 else (5 + gone) / FPS)


def test_motion_of_the_picture_carries_a_box_and_velocity_does_where_it_fails() -> None:
    tracker = Tracker()
    run(tracker, [[face(100 + 5 * index)] for index in range(4)])
    [track] = tracker.tracks
    zoom = np.array([[2.0, 0, 10], [0, 2.0, 20]])
    tracker.carry(4 / FPS, {0: zoom})
    np.testing.assert_allclose(track.box, [190, 170, 290, 270])
    np.testing.assert_allclose(track.landmarks[0], [240, 220])
    assert track.shown
    tracker.carry(5 / FPS, {0: None})
    np.testing.assert_allclose(track.box, [195, 170, 295, 270], atol=1e-4)
    assert not track.shown


def test_a_face_that_seems_to_move_as_the_one_in_front_is_covered() -> None:
    tracker = Tracker()
    run(tracker, [[face(100 + 6 * index), face(160 - 6 * index, 110)] for index in range(5)])
    assert [round(float(track.box[0])) for track in tracker.tracks] == [99, 111]
    left = np.array([[1.0, 0, -6], [0, 1.0, 0]])
    tracker.carry(5 / FPS, {0: left, 1: left})
    assert [round(float(track.box[0])) for track in tracker.tracks] == [105, 105]
    assert [track.number for track in tracker.shown()] == [2]
    # Two who stand side by side may well move together.
    still = Tracker()
    run(still, [[face(100), face(150)]] * 5)
    still.carry(5 / FPS, {0: left, 1: left})
    assert [round(float(track.box[0])) for track in still.shown()] == [69, 119]


def test_averages_are_weighted_by_score_and_size() -> None:
    average = FaceAverage()
    small, large = face(0, side=20, age=20, male=0.2, score=0.8), face(0, side=200, age=60, male=0.9, score=1)
    average.add(small)
    average.add(large)
    weights = np.array([0.8 * 20 / 80, 1.0])
    mass = (weights[0] * small.age_distribution + weights[1] * large.age_distribution) / weights.sum()
    said = average.apply(small)
    np.testing.assert_allclose(said.age_distribution, mass, rtol=1e-5)
    assert said.age == pytest.approx(float(mass @ np.arange(101)), abs=1e-3)
    assert said.age_interval == pytest.approx(tuple(age_interval(mass[None])[0] + (-2, 3)), abs=1e-3)
    male = (weights @ [0.2, 0.9]) / weights.sum()
    assert (said.gender, said.gender_probability) == ("male", pytest.approx(male))
    np.testing.assert_array_equal(said.box, small.box)


def test_a_gender_that_is_not_sure_on_average_is_not_told() -> None:
    tracker = Tracker(TrackRules(min_confidence=0.8))
    said = []
    for index, male in enumerate((0.95, 0.4, 0.3, 0.1, 0.1, 0.1)):
        tracker.update([face(100, male=male)], index / FPS)
        said.append(tracker.shown()[0].face())
    assert [face.gender for face in said] == ["male", None, None, None, None, None]
    assert said[1].gender_probability == pytest.approx((0.95 + 0.4) / 2)


def test_a_model_that_tells_only_some_is_averaged_over_that() -> None:
    average = FaceAverage()
    for age in (20, 40):
        whole = face(0, age=age)
        values = {name: getattr(whole, name) for name in ("box", "landmarks", "score", "age")}
        average.add(Face(**values, gender=None, gender_probability=None, age_interval=None, age_distribution=None))
    said = average.apply(whole)
    assert said.age == pytest.approx(30, abs=1e-3)
    assert said.gender is said.gender_probability is said.age_interval is said.age_distribution is None
    assert average.embedding is None


def test_the_averaged_age_changes_by_a_tenth_of_the_raw_from_frame_to_frame() -> None:
    rng = np.random.default_rng(8)
    ages = rng.normal(40, 5, 80)
    tracker = Tracker()
    said = []
    for index, age in enumerate(ages):
        tracker.update([face(100, age=age)], index / FPS)
        said.append(tracker.shown()[0].face().age)
    change, raw = np.abs(np.diff(said)), np.abs(np.diff(ages))
    assert change.mean() <= 0.1 * raw.mean()
    assert abs(said[-1] - 40) < 1.5


@pytest.mark.parametrize(
    ("detection", "rest", "every"),
    [(0.01, 0.005, 1), (0.1, 0.006, 5), (0.3, 0.006, 13), (5.0, 0.006, 30), (0.1, 1, 30)],
)
def test_real_time_detects_as_often_as_the_frames_leave_time_for(detection: float, rest: float, every: int) -> None:
    pace = RealTime(30)
    for _ in range(20):
        pace.note(rest, detected=False)
        pace.note(rest + detection, detected=True)
    assert pace.every == every
    if rest < 1 / 30 and every < 30:
        assert detection + every * rest <= every / 30


def test_a_recorded_video_is_looked_at_five_times_a_second() -> None:
    assert [Steady.for_video(fps).every for fps in (1, 10, 25, 30, 60)] == [1, 2, 5, 6, 12]

"""What the loader does to images on their way into a batch."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.config import internal, option
from agegender.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Augmentation and fault handling. Raises UsageError for values out of range."""

    rand_mirror: bool = option(True, help="mirror half of the faces")
    cutoff: int = option(
        0, help="side in pixels of a grey square put over half of the faces at a random place, 0 = off", metavar="PX"
    )
    color: float = option(
        0.0,
        help="strength of random brightness, contrast and saturation, each within 1 +- STRENGTH",
        metavar="STRENGTH",
    )
    jitter: float = option(
        0.0,
        help="crop jitter: scale within 1 +- SHARE, shift within SHARE / 2 of the side, rotation within SHARE radians",
        metavar="SHARE",
    )
    jpeg: float = option(
        0.0, help="share of faces that are damaged by a second, coarse JPEG compression", metavar="SHARE"
    )
    degrade: float = option(
        0.0,
        help="share of faces that are made small, blurred, noisy, dark or gray, by a random amount",
        metavar="SHARE",
    )
    bad_records: str = option(
        "stop", choices=("stop", "skip"), help="on a bad record: stop and name it, or count it and take the next one"
    )
    loader_threads: int = option(
        0, help="threads that decode and augment, 0 = one more than there are cores", metavar="N"
    )

    # No flag: whoever takes work from the loader says so.
    augmented_later: bool = internal(False)

    @property
    def augments(self) -> bool:
        """Whether anything random is done to the faces, here or later; scoring wants them as they are."""
        here = self.rand_mirror or self.cutoff or self.color or self.jitter or self.jpeg or self.degrade
        return bool(here or self.augmented_later)

    def __post_init__(self) -> None:
        for name, value, highest in (
            ("color", self.color, 1.0),
            ("jitter", self.jitter, 0.5),
            ("jpeg", self.jpeg, 1.0),
            ("degrade", self.degrade, 1.0),
            ("cutoff", self.cutoff, float("inf")),
            ("loader_threads", self.loader_threads, 256.0),
        ):
            if not 0 <= value <= highest:
                accepted = "0 or more" if highest == float("inf") else f"within 0..{highest:g}"
                raise UsageError(f"{name} {value} is not {accepted}")
        if self.bad_records not in ("stop", "skip"):
            raise UsageError(f"bad_records {self.bad_records!r} is neither 'stop' nor 'skip'")


# How often a face comes in an epoch, by its age: ``sampling.age_shares``.
BALANCES = ("none", "age", "over", "under", "group", "cell")

# Nothing random: what scoring uses.
PLAIN = LoaderConfig(rand_mirror=False)

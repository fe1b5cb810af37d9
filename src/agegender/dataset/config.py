"""Options of packing."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.config import option


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """What to pack, how to divide it and how the records look. Flags of create_dataset.py."""

    sources: tuple[str, ...] = option((), help="datasets to pack, comma-separated (default: all that are found)")
    list: tuple[str, ...] = option(
        (), help="list file path,gender,age (repeatable); without --sources only lists are packed", repeat=True,
        metavar="FILE",
    )  # fmt: skip
    synthetic: int = option(0, help="draw N synthetic faces instead of packing photographs", metavar="N")
    root: str = option("dataset", help="folder that the datasets lie in", metavar="DIR")
    output: str = option("dataset", help="folder for train.rec, val.rec and what belongs to them", metavar="DIR")
    template: str = option("utkface", help="crop template of the set: utkface or arcface", metavar="NAME")
    image_size: int = option(112, help="side of the crops in pixels", metavar="PX")
    quality: int = option(95, help="JPEG quality 1..100 of crops that have to be encoded", metavar="Q")
    border: str = option("black", help="what lies outside of a photo", choices=("black", "random"))
    min_face_score: float = option(
        1.0, help="IMDB-WIKI: lowest score of the face, as the set's authors detected it", metavar="S"
    )
    max_second_face: float = option(
        0.8, help="IMDB-WIKI: highest score of a second face, as a share of the first one's", metavar="R"
    )
    adience: str = option("aligned", help="Adience: which of its images", choices=("aligned", "raw"))
    adience_bins: int = option(8, help="Adience: how many bins of ages", choices=(8, 12))
    appa_age: str = option("real", help="APPA-REAL: which of its ages", choices=("real", "apparent"))
    min_face: int = option(20, help="smallest face in pixels that is looked for in loose photos", metavar="PX")
    val_ratio: float = option(0.05, help="share of the faces for val.rec", metavar="R")
    test_ratio: float = option(0.0, help="share of the faces for test.rec", metavar="R")
    seed: int = option(0, help="same data, flags and seed give the same bytes", metavar="N")
    workers: int | None = option(None, help="processes or threads (default: all cores)", metavar="N")
    ray: str | None = option(
        None, help="crop on Ray: local (this machine's cores), auto (the cluster it belongs to) or HOST:PORT",
        metavar="ADDRESS",
    )  # fmt: skip
    ray_actors: int | None = option(None, help="workers of --ray (default: one on each core that Ray has)", metavar="N")
    shards: int = option(1, help="files that the training records are spread over", metavar="N")
    resume: bool = option(False, help="go on with an interrupted run")

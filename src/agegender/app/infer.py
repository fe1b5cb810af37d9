"""Find the faces in photos or a video, tell age and gender, and write annotated pictures."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from agegender.app.inference.config import InferConfig, add_flags, collect_config
from agegender.app.run_statistics import note
from agegender.app.video import VideoConfig
from agegender.config import add_options, collect
from agegender.errors import UsageError

EXAMPLES = """\
examples:
  %(prog)s                                          the photo test.jpg with the newest model
  %(prog)s --image=party.jpg --model runs/m50/model,12
  %(prog)s --image photos/ --model ssrnet --json > faces.jsonl
  %(prog)s --image photos/ --output none --json faces.jsonl --csv faces.csv --resume
  %(prog)s --image "photos/**/*.jpg" --contact_sheet faces.png
  find photos -newer last | %(prog)s --image - --output none --csv new.csv
  %(prog)s --image crop.jpg --detector none         the photo is a face crop already
  %(prog)s --video street.mp4 --output street-faces.mp4
  %(prog)s --camera 0 --show --min_face 60
  %(prog)s --embeddings faces.npy --model runs/mlp/model --csv faces.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_flags(parser)
    add_options(parser, VideoConfig, title="video")


def main(args: argparse.Namespace) -> int:
    """Go through the photos: 0 where all could be read, 1 where some could not, 130 after Ctrl-C."""
    from agegender.app.messages import language

    config = collect_config(args)
    lang = language(config.lang)
    video = collect(VideoConfig, args)
    source = video.video if video.camera is None else video.camera
    if config.embeddings:
        if source is not None:
            raise UsageError("--embeddings are no pictures, --video and --camera are moving ones: give either")
        from agegender.app.inference.embeddings import read_embeddings

        return read_embeddings(args, config, lang=lang)
    if source is not None:
        return _video(source, args, config, video, lang=lang)
    return _photos(args, config, lang=lang)


def _photos(args: argparse.Namespace, config: InferConfig, *, lang: str) -> int:
    from agegender.app.inference.photos import Tally, annotate_photos

    tally = Tally()
    try:
        return annotate_photos(args.image or ["test.jpg"], config, lang=lang, tally=tally)
    finally:
        note(args, **dataclasses.asdict(tally))


def _video(source: str | int, args: argparse.Namespace, config: InferConfig, video: VideoConfig, *, lang: str) -> int:
    from agegender.app.inference.model import open_model
    from agegender.app.inference.targets import NO_PICTURES
    from agegender.app.video import check_video, run_video

    if video.video is not None and video.camera is not None:
        raise UsageError(f"--video {video.video} and --camera {video.camera}: which one is it to be?")
    for flag, given in {
        "--image": args.image,
        "--csv": config.csv,
        "--resume": config.resume,
        "--contact_sheet": config.contact_sheet,
        "--mc_dropout": config.mc_dropout,
    }.items():
        if given:
            raise UsageError(f"{flag} is for photos, --video and --camera are for moving pictures: give either")
    if config.output == NO_PICTURES:
        raise UsageError(f"--output {NO_PICTURES}: a video is always written; --json FILE tells the faces besides")
    if isinstance(source, str):
        check_video(Path(source))
    # A gender that the predictor withholds can't be averaged, so the tracks do the withholding.
    predictor = open_model(dataclasses.replace(config, min_confidence=None), lang=lang)
    return run_video(
        source,
        predictor=predictor,
        output=config.output,
        every=video.detect_every,
        lang=lang,
        json_file=config.json,
        distribution=config.distribution,
        min_confidence=config.min_confidence or 0.0,
        seconds=video.seconds,
        show=config.show,
    )

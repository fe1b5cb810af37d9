"""Find the faces in photos, tell age and gender, and write annotated pictures."""

from __future__ import annotations

import argparse

from agegender.app.infer_config import InferConfig, add_flags, collect_config

EXAMPLES = """\
examples:
  %(prog)s                                          the photo test.jpg with the newest model
  %(prog)s --image=party.jpg --model runs/m50/model,12
  %(prog)s --image photos/ --model ssrnet --json > faces.jsonl
  %(prog)s --image photos/ --output none --json faces.jsonl --csv faces.csv --resume
  %(prog)s --image "photos/**/*.jpg" --contact_sheet faces.png
  find photos -newer last | %(prog)s --image - --output none --csv new.csv
  %(prog)s --image crop.jpg --detector none         the photo is a face crop already
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_flags(parser)


def main(args: argparse.Namespace) -> int:
    """Go through the photos: 0 where all could be read, 1 where some could not, 130 after Ctrl-C."""
    from agegender.app.messages import language

    config = collect_config(args)
    lang = language(config.lang)
    return _photos(args, config, lang=lang)


def _photos(args: argparse.Namespace, config: InferConfig, *, lang: str) -> int:
    from agegender.app.infer_photos import annotate_photos

    return annotate_photos(args.image or ["test.jpg"], config, lang=lang)

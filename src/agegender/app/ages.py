"""Draw how many faces there are of each age, stacked by gender, one panel per source."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.config import add_options, collect, option
from agegender.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from agegender.dataset.stats import AgeHistogram

EXAMPLES = """\
examples:
  %(prog)s                                        what lies in dataset/
  %(prog)s --list dataset/UTKFace_list.txt        one list
  %(prog)s --rec dataset/train.rec --rec dataset/val.rec --lang zh
"""
TEXTS = {
    "en": {
        "source": "{source}: {total:,} faces (female {female:,}, male {male:,}, gender unknown {unknown:,})",
        "no_age": "  {n:,} of them without age",
        "total": "total: {total:,} faces",
        "picture": "picture: {path}",
        "no_window": "no window here (no display, or matplotlib has no GUI toolkit); the picture is {path}",
    },
    "zh": {
        "source": "{source}：{total:,}张人脸（女{female:,}，男{male:,}，性别未知{unknown:,}）",
        "no_age": "  其中{n:,}张没有年龄",
        "total": "合计：{total:,}张人脸",
        "picture": "图片：{path}",
        "no_window": "无法打开窗口（没有显示器或图形界面库）；图片在{path}",
    },
}


@dataclass(frozen=True, kw_only=True)
class AgesConfig:
    """Options of show_age_distribution.py."""

    list: tuple[str, ...] = option((), help="list file path,gender,age (repeatable)", metavar="FILE", repeat=True)
    rec: tuple[str, ...] = option((), help="record file .rec (repeatable)", metavar="FILE", repeat=True)
    data_dir: str = option("dataset", help="where to look when neither --list nor --rec is given", metavar="DIR")
    label_order: str = option(
        "gender,age", help="order of the labels in --rec", choices=("gender,age", "age,gender"), metavar="ORDER"
    )
    output: str = option("age_distribution.png", help="picture to write", metavar="FILE")
    show: bool = option(False, help="open a window as well")
    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_options(parser, AgesConfig, title="options")


def main(args: argparse.Namespace) -> int:
    """Count, draw, print the totals and where the picture is."""
    from agegender.app.messages import language
    from agegender.app.window import show_window

    config = collect(AgesConfig, args)
    lang = language(config.lang)
    _check_output(Path(config.output))
    histogram = _histogram(config)
    _print_totals(histogram, TEXTS[lang])
    figure = _draw(histogram, lang=lang, window=config.show)
    _save(figure, Path(config.output))
    print(TEXTS[lang]["picture"].format(path=config.output))
    if config.show and not show_window():
        print(TEXTS[lang]["no_window"].format(path=config.output))
    return 0


def _check_output(path: Path) -> None:
    """Refuse a target that can't be written before anything is counted."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp"):
        raise UsageError(f"--output {str(path)!r}: the name must end in .png, .jpg, .pdf, .svg or .webp")
    if not path.parent.is_dir():
        raise UsageError(f"--output {str(path)!r}: there is no folder {str(path.parent)!r}")


def _histogram(config: AgesConfig) -> AgeHistogram:
    """Count what the flags name, or else what lies in the data folder: its lists, or else its training records."""
    from agegender.dataset.stats import AgeHistogram, from_lists, from_records

    lists, records = [*map(Path, config.list)], [*map(Path, config.rec)]
    for file in lists:
        if not file.is_file():
            raise UsageError(f"--list {str(file)!r}: there is no such file")
    if not lists and not records:
        folder = Path(config.data_dir)
        lists = sorted(folder.glob("*_list.txt"))
        records = [] if lists else [folder / "train.rec"]
        if not lists and not any(folder.glob("train*.rec")):
            raise UsageError(
                f"nothing to count in {str(folder)!r}: no *_list.txt and no train.rec; "
                "run create_dataset.py first, or give --list FILE or --rec FILE"
            )
    histogram = AgeHistogram()
    from_lists(lists, into=histogram)
    if records:
        from_records(records, label_order=config.label_order, into=histogram)
    if not histogram.total:
        raise UsageError(f"no face in {', '.join(map(str, [*lists, *records]))}")
    return histogram


def _print_totals(histogram: AgeHistogram, texts: dict[str, str]) -> None:
    for source, ages in histogram.sources.items():
        counts = {gender: ages.count(gender) for gender in ages.by_gender}
        print(texts["source"].format(source=source, total=ages.total, **counts))
        if ages.no_age:
            print(texts["no_age"].format(n=ages.no_age))
    print(texts["total"].format(total=histogram.total))


def _draw(histogram: AgeHistogram, *, lang: str, window: bool) -> Figure:
    from agegender.plots.ages import plot_ages

    if not window:
        return plot_ages(histogram, lang=lang)
    from matplotlib import pyplot

    return plot_ages(histogram, lang=lang, figure=pyplot.figure())


def _save(figure: Figure, path: Path) -> None:
    """Write the picture under a temporary name first, so that a full disk leaves no half one."""
    from agegender.files import atomic_path

    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix.lower().lstrip("."))

"""Draw how many faces there are of each age, stacked by gender, one panel per source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.app.named_files import check_diagram, check_outputs, identity, spare_inputs
from agegender.config import add_options, collect, option
from agegender.errors import UsageError
from agegender.pipeline.config import BALANCES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from agegender.dataset.stats import AgeHistogram
    from agegender.pipeline import BalanceEffect

EXAMPLES = """\
examples:
  %(prog)s                                        what lies in dataset/
  %(prog)s --list dataset/UTKFace_list.txt        one list
  %(prog)s --rec dataset/train.rec --rec dataset/val.rec --lang zh
  %(prog)s --rec dataset/train.rec --balance under
"""
TEXTS = {
    "en": {
        "source": "{source}: {total:,} faces (female {female:,}, male {male:,}, gender unknown {unknown:,})",
        "no_age": "  {n:,} of them without age",
        "total": "total: {total:,} faces",
        "picture": "picture: {path}",
        "balance": "balance {balance}: {before:,} faces, {after:,} per epoch",
        "ages": "  age {ages}: {before:,} -> {after:,}",
        "unknown": "unknown",
        "twice": "{path} is given twice; it is counted once",
        "same": "{path} is the same file as {first}; it is counted once",
        "no_window": "no window here (no display, or matplotlib has no GUI toolkit); the picture is {path}",
    },
    "zh": {
        "source": "{source}：{total:,}张人脸（女{female:,}，男{male:,}，性别未知{unknown:,}）",
        "no_age": "  其中{n:,}张没有年龄",
        "total": "合计：{total:,}张人脸",
        "picture": "图片：{path}",
        "balance": "平衡方式{balance}：{before:,}张人脸，每轮{after:,}张",
        "ages": "  年龄{ages}：{before:,} -> {after:,}",
        "unknown": "未知",
        "twice": "{path}重复给出，只计一次",
        "same": "{path}与{first}是同一个文件，只计一次",
        "no_window": "无法打开窗口（没有显示器或图形界面库）；图片在{path}",
    },
}


@dataclass(frozen=True, kw_only=True)
class AgesConfig:
    """Options of show_age_distribution.py."""

    list: tuple[str, ...] = option(
        (), help="list file path,gender,age (repeatable; the same file counts once)", metavar="FILE", repeat=True
    )
    rec: tuple[str, ...] = option((), help="record file .rec (likewise)", metavar="FILE", repeat=True)
    data_dir: str = option("dataset", help="where to look when neither --list nor --rec is given", metavar="DIR")
    label_order: str = option(
        "gender,age",
        help="order of the labels in --rec, gender,age or age,gender",
        choices=("gender,age", "age,gender"),
        metavar="ORDER",
    )
    output: str = option("age_distribution.png", help="picture to write", metavar="FILE")
    balance: str = option(
        "none",
        choices=tuple(way for way in BALANCES if way not in ("group", "cell")),
        help="count and draw instead what train.py --balance makes of all these faces together, before and after",
    )
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
    outputs = {"--output": config.output}
    check_diagram("--output", config.output)
    check_outputs(outputs)
    lists, records = _files(config, TEXTS[lang])
    spare_inputs(outputs, [*lists, *records], role="which is counted")
    histogram = _histogram(lists, records, label_order=config.label_order)
    _print_totals(histogram, TEXTS[lang])
    if config.balance == "none":
        figure = _draw(histogram, lang=lang, window=config.show)
    else:
        effect = _effect(histogram, config.balance)
        _print_effect(effect, TEXTS[lang])
        figure = _draw_effect(effect, lang=lang, window=config.show)
    _save(figure, Path(config.output))
    print(TEXTS[lang]["picture"].format(path=config.output))
    if config.show and not show_window():
        print(TEXTS[lang]["no_window"].format(path=config.output))
    return 0


def _files(config: AgesConfig, texts: dict[str, str]) -> tuple[list[Path], list[Path]]:
    """Return the lists and records that the flags name, or else the lists of the data folder, or its records."""
    from agegender.recordio import find_shards

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
    return (
        _once("--list", lists, parts=lambda file: [file], texts=texts),
        _once("--rec", records, parts=find_shards, texts=texts),
    )


def _once(
    flag: str, files: Sequence[Path], *, parts: Callable[[Path], list[Path]], texts: dict[str, str]
) -> list[Path]:
    """Leave out what is given again, by whatever name, and say so on standard error.

    ``parts`` returns the files that a name stands for. Raises UsageError where two names share some but not all.
    """
    kept: list[Path] = []
    first: dict[tuple[int, int] | str, Path] = {}
    sizes: dict[Path, int] = {}
    for file in files:
        members = {identity(part): part for part in parts(file)}
        known = [name for name in members if name in first]
        if not known:
            kept.append(file)
            first |= dict.fromkeys(members, file)
            sizes[file] = len(members)
            continue
        other = first[known[0]]
        if len(known) != len(members) or sizes[other] != len(members):
            shared = str(members[known[0]])
            raise UsageError(f"{flag} {str(file)!r}: {shared!r} is in {flag} {str(other)!r} already")
        print(texts["twice" if file == other else "same"].format(path=file, first=other), file=sys.stderr)
    return kept


def _histogram(lists: Sequence[Path], records: Sequence[Path], *, label_order: str) -> AgeHistogram:
    from agegender.dataset.stats import AgeHistogram, from_lists, from_records

    histogram = AgeHistogram()
    from_lists(lists, into=histogram)
    if records:
        from_records(records, label_order=label_order, into=histogram)
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


def _effect(histogram: AgeHistogram, balance: str) -> BalanceEffect:
    import numpy as np

    from agegender.labels import AGE_CLASSES, UNKNOWN
    from agegender.pipeline import balance_effect

    sources = histogram.sources.values()
    counts = np.sum([counts for ages in sources for counts in ages.by_gender.values()], axis=0)
    ages = np.repeat([*range(AGE_CLASSES), UNKNOWN], [*counts, sum(ages.no_age for ages in sources)])
    return balance_effect(np.stack([np.full_like(ages, UNKNOWN), ages], axis=1), balance=balance)


def _print_effect(effect: BalanceEffect, texts: dict[str, str]) -> None:
    before, after = int(effect.before.sum()), int(effect.after.sum())
    print(texts["balance"].format(balance=effect.balance, before=before, after=after))
    for ages, faces, drawn in effect.decades():
        print(texts["ages"].format(ages=texts.get(ages, ages), before=faces, after=drawn))


def _draw_effect(effect: BalanceEffect, *, lang: str, window: bool) -> Figure:
    from agegender.plots.balance import draw_balance

    figure = None
    if window:
        from matplotlib import pyplot

        figure = pyplot.figure()
    return draw_balance(effect.before, effect.after, balance=effect.balance, lang=lang, figure=figure)


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

"""Pack the face datasets that lie under dataset/ into MXNet RecordIO: train.rec, val.rec and test.rec."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.app.run_statistics import note
from agegender.config import add_options, collect, option
from agegender.dataset.config import PackConfig

if TYPE_CHECKING:
    from agegender.dataset.report import PackReport
    from agegender.dataset.sources import Source
    from agegender.face.detector import Detector

EXAMPLES = """\
examples:
  %(prog)s                                         all that lies under dataset/
  %(prog)s --sources UTKFace,AgeDB --test_ratio 0.1
  %(prog)s --list my_list.txt --output dataset/mine
  %(prog)s --synthetic 2000 --output dataset/demo  drawn faces, to try things out
  %(prog)s --resume                                go on after an interruption
  %(prog)s --ray auto --shards 256                 crop on the Ray cluster that this machine belongs to (docs/scale.md)
"""
TEXTS = {
    "en": {
        "nothing": "no face dataset under {root}. Put one of these there:",
        "hint": "  {name}: {hint}\n    {homepage}",
        "own": "or pack photographs of your own with --list FILE (lines path,gender,age),",
        "synthetic": "or try things out with drawn faces: {prog} --synthetic 2000",
        "replace": "{path} is there already; it will be replaced when the new one is complete",
        "source": "source",
        "found": "found",
        "packed": "packed",
        "total": "total",
        "set": "{path}: {records:,} faces",
        "resumed": "went on after {faces:,} faces",
        "skipped": "skipped faces, one by one: {path}",
        "note": "{source}: {count:,} faces kept, {what}",
        "lost": "images missing or unreadable: {lost:,}; see {path}",
        "drawn": "these faces are synthetic (drawn): a network trained on them knows nothing about people",
        "comparing": "looking for duplicates",
        "packing": "packing",
        "so_far": "{phase}: {done:,} of {total:,} ({share:.0%})",
        "resume": "nothing is lost: the same command with --resume goes on from here",
    },
    "zh": {
        "nothing": "{root}下没有人脸数据集。请放入以下任意一个：",
        "hint": "  {name}：{hint}\n    {homepage}",
        "own": "或者用 --list FILE 打包自己的照片（每行 path,gender,age），",
        "synthetic": "或者用绘制的人脸试一试：{prog} --synthetic 2000",
        "replace": "{path}已存在；新的数据集完成后将替换它",
        "source": "来源",
        "found": "找到",
        "packed": "已打包",
        "total": "合计",
        "set": "{path}：{records:,}张人脸",
        "resumed": "从第{faces:,}张人脸之后继续",
        "skipped": "跳过的人脸列表：{path}",
        "note": "{source}：保留{count:,}张人脸，{what}",
        "lost": "缺失或无法读取的图片：{lost:,}张，见{path}",
        "drawn": "这些人脸是绘制的（synthetic）：用它们训练的网络不适用于真人",
        "comparing": "查重",
        "packing": "打包",
        "so_far": "{phase}：{done:,}/{total:,}（{share:.0%}）",
        "resume": "进度已保存：用同样的命令加 --resume 继续",
    },
}
REASONS_ZH = {
    "bad name": "文件名错误",
    "bad label": "标签错误",
    "missing file": "文件缺失",
    "duplicate": "重复",
    "contradiction": "标签矛盾",
    "unreadable image": "无法读取",
    "no face found": "没有检测到人脸",
    "other template": "裁剪模板不同",
    "no label": "没有标签",
    "no gender": "没有性别",
    "no face score": "没有人脸分数",
    "low face score": "人脸分数过低",
    "second face": "有第二张人脸",
    "impossible age": "年龄不可能",
    "no face box": "没有人脸框",
}
NOTES_ZH = {
    "age unknown": "年龄未知",
    "age not readable": "年龄无法读取",
    "single age put into its bin": "单个年龄归入所在年龄段",
    "single age left out": "单个年龄不在任何年龄段中，只留性别",
    "odd bin put into its bin": "不规则年龄段归入所在年龄段",
    "odd bin left out": "不规则年龄段不在任何年龄段中，只留性别",
}
USAGE = 2


@dataclass(frozen=True, kw_only=True)
class PackCommand(PackConfig):
    """Options of create_dataset.py."""

    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_options(parser, PackCommand, title="options")
    parser.set_defaults(prog=parser.prog)


def main(args: argparse.Namespace) -> int:
    """Find the sources, pack, print the counts. Returns 2 where there is nothing to pack, 1 where images were lost."""
    from agegender.app.messages import language
    from agegender.dataset.gather import choose_sources

    config = collect(PackCommand, args)
    texts = TEXTS[language(config.lang)]
    sources = choose_sources(config)
    if not sources:
        _say_what_to_put(config, texts, prog=args.prog)
        return USAGE
    report = _pack(sources, config, texts)
    _print_report(report, config, texts)
    note(args, **_statistics(report))
    if config.synthetic:
        print(texts["drawn"])
    if report.lost:
        print(texts["lost"].format(lost=report.lost, path=Path(config.output) / "skipped.csv"), file=sys.stderr)
        return 1
    return 0


def open_detector() -> Detector:
    """Return the face detector of a packing worker: on the processor, so that all cores work and nothing else does."""
    from agegender.deploy.mtcnn import open_mtcnn

    return open_mtcnn(gpu_ids="cpu")


def _pack(sources: list[Source], config: PackCommand, texts: dict[str, str]) -> PackReport:
    from agegender.app.progress import open_progress
    from agegender.dataset.gather import gather_faces
    from agegender.dataset.journal import PARTIAL
    from agegender.dataset.manifest import old_files
    from agegender.dataset.outgoing import by_pattern
    from agegender.dataset.pack import pack

    output = Path(config.output)
    for name in by_pattern([name for name in old_files(output, "train") if name.endswith(".rec")]):
        print(texts["replace"].format(path=output / name), file=sys.stderr)
    faces = gather_faces(sources, Path(config.root))
    try:
        with closing(open_progress(texts)) as progress:
            return pack(
                faces.samples,
                config,
                make_detector=open_detector,
                problems=faces.problems,
                listed=faces.listed,
                progress=progress,
            )
    except (KeyboardInterrupt, OSError) as error:
        if (output / PARTIAL).exists():
            print(f"\n{texts['resume']}", file=sys.stderr)
        if isinstance(error, OSError) and error.filename is None:
            # A write that fails on a full disk does not know its file.
            raise OSError(error.errno, error.strerror, str(output)) from error
        raise


def _statistics(report: PackReport) -> dict[str, Any]:
    """Return what --stats writes: faces by split and source, left out by reason."""
    sources = {
        name: {"found": count.found, "packed": count.packed, "skipped": dict(count.skipped)}
        for name, count in report.sources.items()
    }
    return {"splits": dict(report.splits), "sources": sources, "lost": report.lost, "resumed_after": report.resumed}


def _say_what_to_put(config: PackCommand, texts: dict[str, str], *, prog: str) -> None:
    from agegender.dataset.sources import SOURCES

    lines = [texts["nothing"].format(root=config.root)]
    for source in SOURCES.values():
        hint = source.hint.replace("dataset/", f"{config.root.rstrip('/')}/")
        lines.append(texts["hint"].format(name=source.name, hint=hint, homepage=source.homepage))
    lines += [texts["own"], texts["synthetic"].format(prog=prog)]
    print("\n".join(lines), file=sys.stderr)


def _print_report(report: PackReport, config: PackCommand, texts: dict[str, str]) -> None:
    from agegender.dataset.report import table

    if report.resumed:
        print(texts["resumed"].format(faces=report.resumed))
    rows = table(report, columns=(texts["source"], texts["found"], texts["packed"]), total=texts["total"])
    if texts is TEXTS["zh"]:
        rows[0] = [REASONS_ZH.get(cell, cell) for cell in rows[0]]
    print(_aligned(rows))
    output = Path(config.output)
    for split, records in report.splits.items():
        if records:
            print(texts["set"].format(path=output / f"{split}.rec", records=records))
    for (source, what), count in sorted(report.problems.notes.items()):
        shown = NOTES_ZH.get(what, what) if texts is TEXTS["zh"] else what
        print(texts["note"].format(source=source, count=count, what=shown))
    if len(report.problems):
        print(texts["skipped"].format(path=output / "skipped.csv"))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns, the first to the left, numbers to the right."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (" " * (width - _width(cell)) for cell, width in zip(row, widths))
        cells = [row[0] + first, *(pad + cell for cell, pad in zip(row[1:], rest))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return the columns that ``text`` takes in a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)

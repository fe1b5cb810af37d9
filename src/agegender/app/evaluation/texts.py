"""What eval says of --compare, --against, several sets of --data and what a model doesn't tell, both languages."""

from __future__ import annotations

from typing import Any

_PAIRS = {
    "sides": (
        "A: {a}\nB: {b}\nfaces in both: {n}; resampled by {unit}",
        "A：{a}\nB：{b}\n共同的人脸：{n}张；按{unit}重采样",
    ),
    "images": ("image", "图像"),
    "subjects": ("subject", "人物"),
    "only": (
        "faces that only one of the two has, left out: A {a}, B {b}",
        "只出现在一方、未计入的人脸：A {a}张，B {b}张",
    ),
    "figure": ("figure", "指标"),
    "n": ("n", "人脸数"),
    "interval": ("95% interval", "95%区间"),
    "p_holm": ("p (Holm)", "p（Holm）"),
    "is": ("B is", "B相比A"),
    "better": ("better", "更好"),
    "worse": ("worse", "更差"),
    "could be chance": ("could be chance", "可能是偶然"),
    "too few": ("too few", "人脸太少"),
    "by": ("by {column}", "按{column}"),
    "cells": (
        "cells of {fewest} faces or more; p by Holm over all {tests} tests of these tables",
        "每格至少{fewest}张人脸；对以下各表的全部{tests}次检验作Holm校正",
    ),
    "tests": (
        "shares: McNemar's exact test ({other} where subjects are known); MAE and RMSE: {other}",
        "比例：McNemar精确检验（已知人物时用{other}）；MAE与RMSE：{other}",
    ),
    "flips": ("permutation of A and B in pairs", "成对置换检验"),
    "set": ("set", "数据集"),
    "written": ("table: {path}", "表格：{path}"),
    "no_gender": ("gender: the model tells none", "性别：该模型不判断性别"),
    "no_age": ("age: the model tells none", "年龄：该模型不判断年龄"),
    "window": (
        "{name} looks at a window of which {share:.0%} lies beyond the images, where it sees black: crops of faces end "
        "before that, which costs it accuracy; photos in a list (--data faces.txt) are the fair comparison",
        "{name}的取景窗口有{share:.0%}在图像之外（填黑）：裁剪后的人脸图比它的窗口小，这会降低它的准确率；"
        "用照片列表（--data faces.txt）比较才公平",
    ),
}
TEXTS = {lang: {name: pair[index] for name, pair in _PAIRS.items()} for index, lang in enumerate(("en", "zh"))}


def tell(key: str, lang: str, **values: Any) -> str:
    """Return the text ``key`` in ``lang`` with ``values`` filled in. KeyError for a text that isn't in the table."""
    return TEXTS[lang][key].format(**values)

"""What the commands say, in English and Chinese."""

from __future__ import annotations

import locale
import os
from typing import TYPE_CHECKING, Any

from agegender.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from agegender.graph.lookup import ModelRef

LANGUAGES = ("en", "zh")
DEFAULT = "en"
# In the order in which POSIX lets one overrule the next.
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_CHINESE = ("zh", "chinese")

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "female": "female",
        "male": "male",
        "unknown": "unknown",
        "model": "model: {prefix}, epoch {epoch} ({origin})",
        "model_path": "the path {place}",
        "model_name": "the model {name!r} in {place}",
        "model_run": "the newest run in {place}",
        "model_shipped": "the shipped model {name!r}",
        "data": "data: {path} ({faces} faces, {crop})",
        "crop_template": "crop template {template!r}",
        "crop_unnamed": "crop template not written down, taken for the model's",
        "crop_found": "found and warped by the detector where they come in no or another crop template",
        "synthetic": "{crop}; drawn faces, not photographs",
        "face": "face {number}: box ({box}), gender: {gender}, age: {age}",
        "scoring": "scoring",
        "counts": "faces: {n} ({n_gender} with gender, {n_age} with age)",
        "not_found": "left out: {count} without a face that the detector finds (the first: {first})",
        "skipped": "left out: {count} bad records (the first: {first})",
        "acc": "acc={value:.6f} (gender accuracy, n={n})",
        "mae": "MAE={value:.6f} (years between expected and true age, n={n})",
        "cum": "CUM_{years}={value:.6f} (share at most {years} years off, n={n})",
        "within3": "older convention, rounded age within 3 years: {value:.6f} (n={n})",
        "bins": "bin_acc={value:.6f} bin_1off={near:.6f} (age in the right bin, in that or the next one, n={n})",
        "calibrated": "calibration: as stored with the model (temperature {temperature:.3f})",
        "uncalibrated": "calibration: none stored for this epoch, the net's own confidence (tools/calibrate.py)",
        "ece": "ECE={value:.6f} (gender, gap of confidence and accuracy over {bins} bins of equal width, n={n})",
        "coverage": "COVERAGE_{percent}={value:.6f} (share of ages in their intervals, {width:.2f} years wide, n={n})",
        "passes": "Monte Carlo dropout: the mean of {passes} passes (seed {seed})",
        "age_deviation": "age over the passes: deviation {mean:.3f} years (median {median:.3f}), rank correlation with "
        "the absolute error {value:.3f} (n={n})",
        "age_entropy": "age entropy: {mean:.3f} bits (median {median:.3f}), rank correlation with the absolute error "
        "{value:.3f} (n={n})",
        "gender_entropy": "gender entropy: {mean:.3f} bits (median {median:.3f}), higher for a wrong answer than for a "
        "right one with probability {value:.3f} (n={n})",
        "table": "by {column}:",
        "written": "{what}: {path}",
        "csv": "faces one by one",
        "plot": "picture",
        "report": "report",
        "group": "group",
        "source": "source",
        "age": "age",
        "gender": "gender",
        "true_age": "true age (years)",
        "predicted_age": "predicted age (years)",
        "scatter_title": "{n:,} faces, MAE {mae:.2f}, CUM_5 {cum:.1%}",
        "scatter_none": "no face with a known age",
        "scatter_faces": "faces",
        "scatter_mean": "mean prediction",
        "scatter_right": "right",
    },
    "zh": {
        "female": "女",
        "male": "男",
        "unknown": "未知",
        "model": "模型：{prefix}，第{epoch}轮（{origin}）",
        "model_path": "路径{place}",
        "model_name": "{place}中的模型{name!r}",
        "model_run": "{place}中最新的训练结果",
        "model_shipped": "自带的模型{name!r}",
        "data": "数据：{path}（{faces}张人脸，{crop}）",
        "crop_template": "裁剪模板{template!r}",
        "crop_unnamed": "没有写明裁剪模板，按模型的模板处理",
        "crop_found": "没有模板或模板不同的图片由检测器重新裁剪",
        "synthetic": "{crop}；绘制的人脸，不是照片",
        "face": "第{number}张人脸，位置({box}), 性别：{gender}, 年龄：{age}",
        "scoring": "评估",
        "counts": "人脸：{n}张（有性别{n_gender}张，有年龄{n_age}张）",
        "not_found": "未计入：{count}张没有检测到人脸（第一张：{first}）",
        "skipped": "未计入：{count}条损坏的记录（第一条：{first}）",
        "acc": "性别准确率：{value:.6f}",
        "mae": "年龄平均绝对误差（MAE）：{value:.6f}",
        "cum": "年龄误差不超过{years}岁（CUM_{years}）：{value:.6f}",
        "within3": "年龄准确率：{value:.6f}",
        "bins": "年龄段准确率：{value:.6f}，相差不超过一段：{near:.6f}（n={n}）",
        "calibrated": "校准：采用模型自带的校准（温度{temperature:.3f}）",
        "uncalibrated": "校准：该轮次没有校准，以下为网络的原始输出（tools/calibrate.py）",
        "ece": "性别校准误差（ECE，{bins}个等宽区间）：{value:.6f}",
        "coverage": "年龄落在{percent}%区间内的比例（平均宽度{width:.2f}岁）：{value:.6f}",
        "passes": "蒙特卡洛dropout：{passes}次前向的平均（随机种子{seed}）",
        "age_deviation": "各次年龄的标准差：{mean:.3f}岁（中位数{median:.3f}），"
        "与绝对误差的秩相关：{value:.3f}（n={n}）",
        "age_entropy": "年龄熵：{mean:.3f}比特（中位数{median:.3f}），与绝对误差的秩相关：{value:.3f}（n={n}）",
        "gender_entropy": "性别熵：{mean:.3f}比特（中位数{median:.3f}），"
        "答错者的熵高于答对者的概率：{value:.3f}（n={n}）",
        "table": "按{column}：",
        "written": "{what}：{path}",
        "csv": "每张人脸的结果",
        "plot": "图片",
        "report": "报告",
        "group": "组",
        "source": "来源",
        "age": "年龄",
        "gender": "性别",
        "true_age": "年龄（岁）",
        "predicted_age": "预测年龄（岁）",
        "scatter_title": "{n:,}张人脸，MAE {mae:.2f}，CUM_5 {cum:.1%}",
        "scatter_none": "没有年龄标签",
        "scatter_faces": "人脸数量",
        "scatter_mean": "平均预测",
        "scatter_right": "正确",
    },
}


def language(flag: str | None = None) -> str:
    """Return "en" or "zh": what ``--lang`` says, else what the locale does, English where that is another language.

    Raises UsageError for a flag that is neither.
    """
    if flag is not None:
        if flag not in LANGUAGES:
            raise UsageError(f"unknown language {flag!r} ({', '.join(LANGUAGES)})")
        return flag
    named = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), None)
    if named is None:
        # Windows has its locale elsewhere, with names such as Chinese (Simplified)_China.
        named = locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(_CHINESE) else DEFAULT


def say(key: str, lang: str, **values: Any) -> str:
    """Return the text ``key`` in ``lang`` with ``values`` filled in. KeyError for a text that isn't in the table."""
    return TEXTS[lang][key].format(**values)


def model_line(model: ModelRef, lang: str, *, prefix: Path, epoch: int | str | None) -> str:
    """Return the line that says which checkpoint is used, and why ``find_model`` took this model."""
    origin = say(f"model_{model.origin.kind}", lang, name=model.origin.name, place=model.origin.place)
    return say("model", lang, prefix=prefix, epoch=epoch, origin=origin)

"""How a report was made, in words: model, data, split, subjects, speed, command, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PAIRS = {
    "model": ("model", "模型"),
    "data": ("data", "数据"),
    "split": ("split", "划分"),
    "subjects": ("subjects", "人物"),
    "learned": ("training data", "训练数据"),
    "calibration": ("calibration", "校准"),
    "left_out": ("left out", "未计入"),
    "speed": ("speed", "速度"),
    "command": ("command", "命令"),
    "versions": ("versions", "版本"),
    "epoch": ("{name}, epoch {epoch}", "{name}，第{epoch}轮"),
    "sha": ("{what}; SHA-256 of {file}: {sha}", "{what}；{file}的SHA-256：{sha}"),
    "records": ("{path}, {n} faces scored", "{path}，评分{n}张人脸"),
    "list": ("a list file: what is on it was its author's choice", "列表文件：内容由作者选定"),
    "no_rule": ("the records do not say how they were divided", "记录未注明划分方法"),
    "rule_own": (
        "{split}: only faces for which their source or list names this part; none was drawn",
        "{split}：只含来源或列表指定属于该部分的人脸，没有抽取",
    ),
    "rule_drawn": (
        "{split}: faces for which their source or list names this part, and {ratio:.1%} of all others, drawn by seeded "
        "hashes (seed {seed}), the same share of every source, decade of age and gender",
        "{split}：来源或列表指定属于该部分的人脸，以及其余人脸的{ratio:.1%}（按种子{seed}的哈希抽取，各来源、年代、性别比例相同）",
    ),
    "rule_rest": (
        "{split}: faces for which their source or list names this part, and all that were not drawn for val or test "
        "(seed {seed})",
        "{split}：来源或列表指定属于该部分的人脸，以及未抽入验证和测试的人脸（种子{seed}）",
    ),
    "image_level": (
        "image-level split: subjects may appear on both sides (whose face is whose is not known)",
        "图像级划分：不知道谁是谁，同一人物可能出现在两边",
    ),
    "partly_known": (
        "{known} of {n} faces have a subject; people of the others may appear on both sides",
        "{n}张人脸中{known}张注明人物；其余人脸的人物可能出现在两边",
    ),
    "all_known": ("the subject of every face is known ({people} people)", "每张人脸的人物均已知（{people}人）"),
    "exclusive": (
        "none of these people is in {files}: subjects are exclusive",
        "这些人物均不在{files}中：人物互斥",
    ),
    "shared": (
        "{shared} of these people are in {files} too: the figures flatter",
        "其中{shared}人也出现在{files}中：指标偏好看",
    ),
    "not_compared": (
        "the other parts of the set are not there, so nobody looked whether they hold the same people",
        "没有找到该数据集的其他部分，未核对人物是否重复",
    ),
    "same": ("the train.rec beside this set (same SHA-256)", "与本数据同一处的train.rec（SHA-256相同）"),
    "other": (
        "not the train.rec beside this set (another SHA-256): whether it held these faces is not known",
        "并非与本数据同一处的train.rec（SHA-256不同）：是否含有这些人脸未知",
    ),
    "nobody_knows": ("not known, nor whether it held these faces", "未知，是否含有这些人脸也未知"),
    "stored": (
        "as stored with the model, gender temperature {temperature:.3f}",
        "采用模型自带的校准，性别温度{temperature:.3f}",
    ),
    "none_stored": ("none stored for this epoch: the net's own confidence", "该轮次没有校准：网络的原始置信度"),
    "losses": (
        "{not_found} faces that the detector does not find, {skipped} that cannot be read; no figure counts them",
        "检测器未找到{not_found}张，无法读取{skipped}张；各项指标均不计",
    ),
    "run": (
        "{n} faces in {seconds:.1f} s, {rate:.0f} a second, reading and decoding included, on {engine}{flip}; one run "
        "beside whatever else this machine did, no benchmark",
        "{n}张人脸用时{seconds:.1f}秒，每秒{rate:.0f}张，含读取和解码，{engine}{flip}；仅一次运行，机器可能另有负载，不作基准",
    ),
    "flip": (", each face and its mirror image", "，每张人脸含镜像"),
}
_TEXTS = {lang: {name: pair[i] for name, pair in _PAIRS.items()} for i, lang in enumerate(("en", "zh"))}
_JOIN = {"en": "; ", "zh": "；"}


def about_lines(facts: Mapping[str, Any], lang: str) -> list[tuple[str, str]]:
    """Return (what, text) lines for the page; ``facts`` are those of ``app.eval_about``, as report.json has them."""
    t = _TEXTS[lang]
    model, data, run = facts["model"], facts["data"], facts["speed"]
    name = model["name"] if model["epoch"] is None else t["epoch"].format(**model)
    lines = {
        "model": _digested(name, model, t),
        "data": _digested(t["records"].format(path=data["path"], n=run["faces"]), data, t),
        "split": _rule(data, t),
        "subjects": _JOIN[lang].join(_subjects(facts["subjects"], t)),
        "learned": t[{True: "same", False: "other", None: "nobody_knows"}[model["learned_from_sibling"]]],
        "calibration": t["none_stored"] if model["temperature"] is None else t["stored"].format(**model),
    }
    if any(facts["left_out"].values()):
        lines["left_out"] = t["losses"].format(**facts["left_out"])
    rate = run["faces"] / max(run["seconds"], 1e-9)
    flip = t["flip"] if run["flip"] else ""
    lines["speed"] = t["run"].format(n=run["faces"], **{**run, "rate": rate, "flip": flip})
    lines["command"] = facts["command"]
    lines["versions"] = ", ".join(f"{library} {version}" for library, version in facts["versions"].items())
    return [(t[what], text) for what, text in lines.items()]


def _digested(what: str, of: Mapping[str, Any], t: Mapping[str, str]) -> str:
    for file, sha in of["sha256"].items():
        what = t["sha"].format(what=what, file=file, sha=sha)
    return what


def _rule(data: Mapping[str, Any], t: Mapping[str, str]) -> str:
    if data["list"]:
        return t["list"]
    rule = data["split_rule"]
    if not rule:
        return t["no_rule"]
    if data["split"] == "train":
        return t["rule_rest"].format(split="train", seed=rule.get("seed"))
    ratio = rule.get(f"{data['split']}_ratio") or 0.0
    return t["rule_drawn" if ratio else "rule_own"].format(split=data["split"], ratio=ratio, seed=rule.get("seed"))


def _subjects(subjects: Mapping[str, Any], t: Mapping[str, str]) -> list[str]:
    if not subjects["known"]:
        return [t["image_level"]]
    lines = [t["all_known" if subjects["known"] == subjects["n"] else "partly_known"].format(**subjects)]
    if not subjects["compared"]:
        return [*lines, t["not_compared"]]
    files = ", ".join(subjects["compared"])
    return [*lines, t["shared" if subjects["shared"] else "exclusive"].format(files=files, shared=subjects["shared"])]

"""What infer.py says, in English and Chinese."""

from __future__ import annotations

from typing import Any

TEXTS = {
    "en": {
        "model_file": "model: {path}",
        "faces": "{image}: {n} faces",
        "one_face": "{image}: 1 face",
        "no_face": "{image}: no face found",
        "faces_drawn": "{image}: {n} faces, drawn in {output}",
        "one_face_drawn": "{image}: 1 face, drawn in {output}",
        "no_face_drawn": "{image}: no face found, picture in {output}",
        "failed": "{failed} of {total} photos could not be read",
        "failed_before": "could not be read before: {failed} (why stands in {files})",
        "no_window": "no window here (no display, or matplotlib has no GUI toolkit); the picture is {output}",
        "no_window_at_all": "no window here (no display, or matplotlib has no GUI toolkit)",
        "skipped": "in {files} already and left out: {n}",
        "written": "written to {files}: photos {photos}, faces {faces}",
        "sheet": "contact sheet: {file} ({n} faces)",
        "sheet_part": "contact sheet: {file} (the first {n} of {total} faces)",
        "sheet_none": "no face: no contact sheet was written",
        "stopped": "stopped; photos done: {n}",
        "embedding": "{file}, {row}: gender: {gender}, age: {age}, entropy (bits): {bits}",
        "told": "results",
        "go_on": "stopped; photos done: {n}, all in {files}; the same command with --resume goes on",
    },
    "zh": {
        "model_file": "模型：{path}",
        "faces": "{image}：{n}张人脸",
        "one_face": "{image}：1张人脸",
        "no_face": "{image}：没有检测到人脸",
        "faces_drawn": "{image}：{n}张人脸，图片：{output}",
        "one_face_drawn": "{image}：1张人脸，图片：{output}",
        "no_face_drawn": "{image}：没有检测到人脸，图片：{output}",
        "failed": "{total}张图片中有{failed}张无法读取",
        "failed_before": "之前有{failed}张图片无法读取，原因见{files}",
        "no_window": "无法打开窗口（没有显示器或图形界面库）；图片：{output}",
        "no_window_at_all": "无法打开窗口（没有显示器或图形界面库）",
        "skipped": "{files}中已有{n}张图片，已跳过",
        "written": "已写入{files}：{photos}张图片，{faces}张人脸",
        "sheet": "人脸总览图：{file}（{n}张人脸）",
        "sheet_part": "人脸总览图：{file}（{total}张人脸中的前{n}张）",
        "sheet_none": "没有人脸，未生成总览图",
        "stopped": "已停止；已处理{n}张图片",
        "embedding": "{file}，第{row}行：性别：{gender}，年龄：{age}，熵（比特）：{bits}",
        "told": "结果",
        "go_on": "已停止；已处理{n}张图片，结果都在{files}中，用同样的命令加 --resume 可继续",
    },
}


def text(key: str, lang: str, **values: Any) -> str:
    """Return the text ``key`` in ``lang`` with ``values`` filled in. KeyError for a text that isn't in the table."""
    return TEXTS[lang][key].format(**values)

"""What the rooms log, in the user's language.

A room logs in English and knows no other language. Its line before the values are filled in is the key here.
"""

from __future__ import annotations

import logging

CHINESE = {
    "no GPU is there: computing on the processor (CPU)": "没有可用的GPU，改用处理器（CPU）计算",
    "nothing to resume in %s: starting from the beginning": "%s中没有可以继续的内容，从头开始",
    "dropping what an interrupted run left in %s (--resume goes on with it)": (
        "丢弃上次中断后留在%s中的内容（加 --resume 可继续）"
    ),
    "%s: the new set has no %s; the old ones will be removed when it is complete": (
        "%s：新数据集没有%s；新数据集完成后将删除这些旧文件"
    ),
    "%s: finishing the set that an earlier run had complete": "%s：完成上次已打包好的数据集",
    "%s has no %s: scanning it (tools/rec.py index writes one)": "%s没有%s，正在扫描（可用 tools/rec.py index 生成）",
    "listening on http://%s:%d (Ctrl-C stops)": "正在监听 http://%s:%d（Ctrl-C 停止）",
    "stopping: %d requests are still being answered": "正在停止：还有%d个请求正在处理",
    "%s: record 0 is a range header; %d images, %d identities": "%s：第0条记录是范围头；%d张图片，%d个身份",
}


class NoteFormatter(logging.Formatter):
    """Writes a record as its bare message, in ``lang`` where that is known, else in English."""

    def __init__(self, lang: str) -> None:
        super().__init__("%(message)s")
        self._known = CHINESE if lang == "zh" else {}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line. The record stays as it is: a log file gets it too."""
        text = self._known.get(str(record.msg))
        if text is None:
            return super().formatMessage(record)
        return text % record.args if record.args else text

"""Prometheus texts of several processes as one: each sample says whose it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A name, perhaps labels in braces, and the rest of the line; a label's value may hold braces, but no bare quote.
_SAMPLE = re.compile(r'(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?(?P<rest> .*)')


def label_samples(text: bytes, name: str, value: str) -> bytes:
    """Return the metrics ``text`` with the label ``name="value"`` in each sample; ``value`` needs no escapes."""

    def labelled(line: str) -> str:
        found = None if line.startswith("#") else _SAMPLE.fullmatch(line)
        if found is None:
            return line
        labels = ",".join(filter(None, (f'{name}="{value}"', found["labels"])))
        return f"{found['name']}{{{labels}}}{found['rest']}"

    return "".join(f"{labelled(line)}\n" for line in text.decode().splitlines()).encode()


def merge_texts(texts: Sequence[bytes]) -> bytes:
    """Return one text with the samples of all ``texts``, each metric's together below its own HELP and TYPE."""
    samples: dict[str, list[str]] = {}
    for text in texts:
        head = ""
        for line in text.decode().splitlines(keepends=True):
            if line.startswith("# HELP "):
                head = line
            elif line.startswith("#"):
                head += line
            else:
                samples.setdefault(head, []).append(line)
                continue
            if not line.startswith("# HELP "):
                samples.setdefault(head, [])
    return "".join(head + "".join(lines) for head, lines in samples.items()).encode()

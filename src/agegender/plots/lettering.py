"""Letters for figures: Chinese ones too, on a machine without any Chinese font."""

from __future__ import annotations

import functools
import logging

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from agegender.typeface import FAMILY, typeface_path

log = logging.getLogger(__name__)

# For characters beyond our own typeface, what people's systems may have.
SYSTEM_FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Heiti SC",
    "Arial Unicode MS",
)
_LATIN = "DejaVu Sans"  # comes with matplotlib


def set_lettering(figure: Figure) -> Figure:
    """Give every text of ``figure`` fonts that have its characters; returns ``figure``.

    Figures in Latin letters keep matplotlib's font. Characters that no font here has become question marks, with one
    line in the log.
    """
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    if all(text.get_text().isascii() for text in texts):
        return figure
    families, covered = _fonts()
    missing = {character for text in texts for character in text.get_text()} - covered - {"\n"}
    for text in texts:
        text.set_fontfamily(families)
        if missing & set(text.get_text()):
            text.set_text("".join("?" if character in missing else character for character in text.get_text()))
    if missing:
        log.warning(
            "no font on this machine has %s; a Chinese font helps, such as the package fonts-noto-cjk",
            "".join(sorted(missing)),
        )
    return figure


@functools.cache
def _fonts() -> tuple[list[str], frozenset[str]]:
    """Return font families in order of preference and the characters that they have together."""
    own = typeface_path()
    font_manager.fontManager.addfont(own)
    paths = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    families = [name for name in (FAMILY, *SYSTEM_FAMILIES, _LATIN) if name in paths]
    covered: set[str] = set()
    for name in families:
        covered.update(map(chr, FT2Font(str(paths[name])).get_charmap()))
    return families, frozenset(covered)

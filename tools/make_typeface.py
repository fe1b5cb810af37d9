"""Cut the small typeface that our figures write Chinese with out of Noto Sans CJK: python tools/make_typeface.py FONT

FONT is NotoSansCJK-Regular.ttc (Debian package fonts-noto-cjk). Needs fonttools, which comes with matplotlib. Run it
again when a message brings a new character; a test says which are missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]
from fontTools.ttLib import TTCollection, TTFont  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
FONTS = ROOT / "src/agegender/plots/fonts"
FAMILY = "AgeGender Sans"
SIMPLIFIED_CHINESE = "Noto Sans CJK SC"
# Names: 1 family, 2 style, 3 unique, 4 full, 6 PostScript; 16 and 17 would override 1 and 2.
NAMES = {1: FAMILY, 2: "Regular", 3: "AgeGenderSans-Regular", 4: f"{FAMILY} Regular", 6: "AgeGenderSans-Regular"}
LATIN = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)])) + "–—‘’“”…•→≤≥±×−"
CHINESE_SIGNS = "，。、；：？！（）《》【】「」％～·￥"


def is_chinese(character: str) -> bool:
    """Tell whether a character is a Chinese one (CJK Unified Ideographs)."""
    return "\u4e00" <= character <= "\u9fff"


def used_characters(root: Path) -> set[str]:
    """Return the Chinese characters in the package's sources."""
    texts = (path.read_text(encoding="utf-8") for path in (root / "src").rglob("*.py"))
    return {character for text in texts for character in text if is_chinese(character)}


def main() -> None:
    """Write AgeGenderSans.otf: Latin, the commonest Chinese characters (common.txt), and all that our messages use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", type=Path, help="NotoSansCJK-Regular.ttc")
    collection = TTCollection(parser.parse_args().font)
    font = next(font for font in collection.fonts if font["name"].getDebugName(1) == SIMPLIFIED_CHINESE)
    common = (FONTS / "common.txt").read_text(encoding="utf-8")
    wanted = {*LATIN, *CHINESE_SIGNS, *filter(is_chinese, common), *used_characters(ROOT)}
    write_subset(font, wanted, FONTS / "AgeGenderSans.otf")
    print(f"{len(wanted)} characters, {(FONTS / 'AgeGenderSans.otf').stat().st_size} bytes")


def write_subset(font: TTFont, characters: set[str], target: Path) -> None:
    """Write ``font`` cut down to ``characters`` under our own family name; its copyright notes stay."""
    options = Options()
    options.layout_features = []
    options.hinting = False
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14]
    options.notdef_outline = True
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "GPOS", "GSUB"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[ord(character) for character in characters])
    subsetter.subset(font)
    table = font["name"]
    table.names = [record for record in table.names if record.nameID not in (16, 17)]
    for number, name in NAMES.items():
        table.setName(name, number, 3, 1, 0x409)
    top = font["CFF "].cff
    top.fontNames = [NAMES[6]]
    for name, value in (("FullName", NAMES[4]), ("FamilyName", FAMILY)):
        setattr(top.topDictIndex[0], name, value)
    font["head"].modified = font["head"].created  # the same input gives the same bytes
    font.recalcTimestamp = False
    font.save(target)


if __name__ == "__main__":
    main()

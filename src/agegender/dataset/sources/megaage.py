"""MegaAge, the full set beside the Asian one: http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/

Layout: ``dataset/megaage/{train,test}/*.jpg`` and ``list/{train,test}_{name,age}.txt``, as in MegaAge-Asian: 41,941
faces, 0 to 70 years, of people from everywhere.
Terms: non-commercial research only.
Coding: ages only. The lists ``*_gender.txt`` are not used: what their numbers mean is written nowhere that we could
check, and a gender turned round is worse than none. The official test list is "test".
"""

from __future__ import annotations

from agegender.dataset.sources.megaage_asian import MegaAgeAsian


class MegaAge(MegaAgeAsian):
    """MegaAge's faces, ages only; see the module for layout and coding."""

    name = "megaage"
    title = "MegaAge"
    folders = ("megaage/megaage", "megaage")
    hint = "dataset/megaage/{train,test}/*.jpg and dataset/megaage/list/{train,test}_{name,age}.txt"

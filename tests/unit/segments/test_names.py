"""The RFM grid is whole: every cell of recency × frequency has exactly one name."""

from __future__ import annotations

import re
from itertools import product

from equipoise.segments.rfm import NAMES

PUBLIC_GRID = {
    r"[1-2][1-2]": "Hibernating",
    r"[1-2][3-4]": "At Risk",
    r"[1-2]5": "Can't Lose Them",
    r"3[1-2]": "About To Sleep",
    r"33": "Need Attention",
    r"[3-4][4-5]": "Loyal Customers",
    r"41": "Promising",
    r"51": "New Customers",
    r"[4-5][2-3]": "Potential Loyalists",
    r"5[4-5]": "Champions",
}
"""As public notebooks write it down: a pattern on the two digits R and F."""


def test_every_cell_has_one_name_and_it_is_the_public_one() -> None:
    for r, f in product(range(1, 6), repeat=2):
        names = [name for name, (rs, fs) in NAMES.items() if r in rs and f in fs]
        public = [name for pattern, name in PUBLIC_GRID.items() if re.fullmatch(pattern, f"{r}{f}")]
        assert names == public, (r, f)
        assert len(names) == 1, (r, f)

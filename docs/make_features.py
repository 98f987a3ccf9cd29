"""Write docs/features.md anew, from the registry and docs/measured/feature_tiers.json.

python docs/make_features.py
"""

from __future__ import annotations

from pathlib import Path

from finscale.features.describe import features_markdown
from finscale.files import read_json, write_text_atomic

DOCS = Path(__file__).parent


def main() -> None:
    """Generate the document."""
    measured = read_json(DOCS / "measured" / "feature_tiers.json")
    write_text_atomic(DOCS / "features.md", features_markdown(measured))


if __name__ == "__main__":
    main()

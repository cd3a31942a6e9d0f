"""Sphinx reads this: how the documentation site is built (``python -m sphinx -W -b html docs build/site``)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import sidecar

project = "microsidecar"
author = "The microsidecar developers"
copyright = author
version = release = sidecar.__version__

extensions = ["generated"]
exclude_patterns = ["clients", "example-backend"]
nitpicky = True
highlight_language = "console"

html_theme = "furo"
html_title = f"microsidecar {version}"
html_static_path: list[str] = []
html_show_copyright = False

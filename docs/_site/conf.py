"""How Sphinx builds the site from the pages that ``docs/site.py`` has laid out."""

project = "tenant-security"
author = "the tenant-security authors"
html_title = "tenant-security"
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
html_theme = "furo"
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Links to code and data are right in the repository, where the pages are read as well.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure", "myst.header"]
exclude_patterns: list[str] = []
nitpicky = True

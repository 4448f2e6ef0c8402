"""The atlas as pages: static files that open with a double click, without network or build step."""

from __future__ import annotations

from emosae.site.records import Example, SiteData
from emosae.site.write import write_site

__all__ = ["Example", "SiteData", "write_site"]

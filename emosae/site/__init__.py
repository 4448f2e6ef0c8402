"""The atlas as pages: static files that open with a double click, without network or build step."""

from __future__ import annotations

from emosae.site.histograms import Histograms, count_peaks
from emosae.site.pack_talks import tabulate_talk_arms
from emosae.site.page_tables import PageTables
from emosae.site.records import Example, SiteData
from emosae.site.write import write_site

__all__ = ["Example", "Histograms", "PageTables", "SiteData", "count_peaks", "tabulate_talk_arms", "write_site"]

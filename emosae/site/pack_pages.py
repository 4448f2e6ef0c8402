"""The data files that only some pages load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emosae.site.pack_evidence import list_evidence_files
from emosae.site.pack_geometry import list_geometry_files
from emosae.site.pack_rollouts import list_rollout_files
from emosae.site.pack_talks import list_talk_files
from emosae.site.records import SiteData


def list_page_files(data: SiteData) -> Iterator[tuple[str, Any]]:
    """Names and values; a file is always written, and empty where the run has nothing for it."""
    yield from list_evidence_files(data)
    yield from list_geometry_files(data)
    yield from list_rollout_files(data.pages)
    yield from list_talk_files(data.pages)

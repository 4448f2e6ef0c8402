"""Atlas: features matched across SAEs, grouped into concepts, and placed among the emotions."""

from emosae.atlas.build import Atlas, build_atlas
from emosae.atlas.concepts import build_concepts

__all__ = ["Atlas", "build_atlas", "build_concepts"]

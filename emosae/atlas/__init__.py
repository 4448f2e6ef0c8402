"""Atlas: features matched across SAEs, grouped into concepts, and placed among the emotions."""

from emosae.atlas.build import Atlas, build_atlas
from emosae.atlas.concepts import build_concepts
from emosae.atlas.matching import match_features

__all__ = ["Atlas", "build_atlas", "build_concepts", "match_features"]

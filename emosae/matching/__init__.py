"""Matching: which features of two SAEs are one, parts of one another, or alone."""

from emosae.matching.labels import RELATIONS, Relation, name_status
from emosae.matching.links import LINK_SCHEMA, Criteria, match_features
from emosae.matching.nearest import Products

__all__ = ["LINK_SCHEMA", "RELATIONS", "Criteria", "Products", "Relation", "match_features", "name_status"]

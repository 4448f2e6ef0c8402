"""The report's sections, in reading order; each turns tables into words, figures and numbers."""

from __future__ import annotations

from collections.abc import Callable

from emosae.report.content import Section
from emosae.report.records import ReportData
from emosae.report.sections.agreement import write_agreement
from emosae.report.sections.composure import write_composure
from emosae.report.sections.connections import write_connections
from emosae.report.sections.conversations import write_conversations
from emosae.report.sections.dials import write_dials
from emosae.report.sections.features import write_features
from emosae.report.sections.geometry import write_geometry
from emosae.report.sections.impossible import write_impossible
from emosae.report.sections.mediation import write_mediation
from emosae.report.sections.overlap import write_overlap
from emosae.report.sections.plan import write_plan
from emosae.report.sections.provenance import write_provenance
from emosae.report.sections.reading import write_saes
from emosae.report.sections.replies import write_replies
from emosae.report.sections.subspace import write_subspace
from emosae.report.sections.trajectory import write_trajectory
from emosae.report.sections.transcripts import write_transcripts
from emosae.report.sections.truth import write_truth
from emosae.report.sections.verdicts import write_verdicts

SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    write_saes,
    write_features,
    write_overlap,
    write_geometry,
    write_agreement,
    write_connections,
    write_conversations,
    write_replies,
    write_plan,
    write_impossible,
    write_trajectory,
    write_mediation,
    write_subspace,
    write_dials,
    write_composure,
    write_transcripts,
    write_verdicts,
    write_truth,
    write_provenance,
)

__all__ = ["SECTIONS"]

"""How features are connected: the tokens and the features of earlier layers that turn a feature on."""

from emosae.connections.links import CONNECTION_SCHEMA
from emosae.connections.targets import Target, choose_targets
from emosae.connections.tracing import trace_connections

__all__ = ["CONNECTION_SCHEMA", "Target", "choose_targets", "trace_connections"]

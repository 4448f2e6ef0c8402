"""The verb that looks at the machine."""

from __future__ import annotations

from dataclasses import dataclass

from emosae.errors import UserError
from emosae.verbs.command import Command


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check this machine: versions, device, sandbox, W&B, Slurm, browser, hub; and how to mend what is missing."""

    def run(self) -> None:
        """Print a line per check; a missing needed package is a failure."""
        from emosae.doctor import check_machine

        checks = check_machine()
        print("\n".join(check.line() for check in checks), flush=True)
        failed = [check.name for check in checks if check.is_needed and not check.is_well]
        if failed:
            raise UserError(f"emosae cannot run as this machine is: {', '.join(failed)}")

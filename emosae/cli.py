"""The console: find the verb, parse its flags, run it, print where the result is, or one line that says why not."""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from typing import Any

import tyro
from pydantic import ValidationError
from tyro.conf import AvoidSubcommands

from emosae import __version__
from emosae.config import explain
from emosae.errors import UsageError, UserError
from emosae.verbs import VERBS, Command

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
_HELP = {"-h", "--help"}
_NOISE = re.compile(r"\[type=[^]]*\]|For further information visit \S+|\d+ validation errors? for \w+")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(format="%(message)s")  # to stderr; results go to stdout
    logging.getLogger("emosae").setLevel(logging.INFO)
    try:
        _dispatch(args)
    except UserError as mistake:
        if "--debug" in args:
            traceback.print_exc()
        _complain(" ".join(str(mistake).split()))
        return BAD_USAGE if isinstance(mistake, UsageError) else FAILED
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from the last finished stage")
        return INTERRUPTED
    return DONE


def _complain(message: str) -> None:
    print(f"emosae: error: {message}", file=sys.stderr)


def _dispatch(args: list[str]) -> None:
    verb, rest = _split_verb(args)
    if verb in VERBS:
        command = _parse(verb, rest)
        result = command.run() if command else None
        if result is not None:
            print(result)
    elif args[:1] == ["--version"]:
        print(f"emosae {__version__}")
    elif _HELP & set(args):
        print(_overview(verb))
    else:
        raise UsageError(_unknown_verb(args))


def _split_verb(args: Sequence[str]) -> tuple[str, list[str]]:
    """The verb, of one word or two, and what follows; a first word alone if it is the beginning of verbs."""
    for length in (2, 1):
        verb = " ".join(args[:length])
        if verb in VERBS or any(known.startswith(f"{verb} ") for known in VERBS):
            return verb, list(args[length:])
    return "", list(args)


def _overview(group: str) -> str:
    """The verbs and what each does, or those of one group."""
    shown = {verb: command for verb, command in VERBS.items() if verb.startswith(group)}
    width = max(map(len, shown), default=0) + 2
    lines = [f"  {verb:<{width}}{(command.__doc__ or '').splitlines()[0]}" for verb, command in shown.items()]
    usage = " ".join(["usage: emosae", *group.split(), "VERB ..."])
    return "\n".join([usage, "", *lines, "", "emosae VERB --help shows its flags; emosae --version the version."])


def _unknown_verb(args: Sequence[str]) -> str:
    given = " ".join(args[:2])
    if not given:
        return "give a verb; emosae --help lists them"
    near = difflib.get_close_matches(given, VERBS, n=1) or difflib.get_close_matches(args[0], VERBS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "emosae --help lists them"
    return f"no verb {given!r}; {hint}"


def _parse(verb: str, args: list[str]) -> Command | None:
    """The command with its flags, or nothing if only its help was wanted."""
    kind = VERBS[verb]
    if not _HELP & set(args):
        kind = _with_defaults(kind, kind.defaults(args))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, prog=f"emosae {verb}", args=args, config=(AvoidSubcommands,))
    except ValidationError as refused:
        raise UsageError(explain(refused)) from refused
    except SystemExit as stop:
        if stop.code in (None, DONE):
            return None
        raise UsageError(_one_line(complaint.getvalue())) from None


def _with_defaults(kind: type[Command], defaults: dict[str, Any]) -> type[Command]:
    """The same command with other defaults for some of its flags."""
    types = {flag.name: flag.type for flag in fields(kind)}
    changed = [(name, types[name], field(default=value)) for name, value in defaults.items()]
    namespace = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return make_dataclass(kind.__name__, changed, bases=(kind,), namespace=namespace, frozen=True, kw_only=True)


def _one_line(box: str) -> str:
    """What tyro says in a box of several lines, in one."""
    lines = [line.strip("│─ ") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    text = _NOISE.sub("", " ".join(line for line in lines if line))
    return re.sub(r"\s*For full helptext, (run|see):?", "; for all flags:", " ".join(text.split()))

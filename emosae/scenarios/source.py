"""A program's syntax tree: whether it defines what was asked for, which of it can run, and what its names stand for."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

IMPORTERS = frozenset({"__import__", "importlib.import_module"})
_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def parse_program(program: str, function: str) -> ast.Module | None:
    """The program's syntax tree; None if it is no Python or does not define the function."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if function in set(_bound_names(tree.body)) else None


def _bound_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, _Definition):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            inner = [part for part in ast.walk(node) if isinstance(part, ast.stmt) and part is not node]
            yield from _bound_names(inner)


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """The part of a program that can run when its function is called.

    Attributes:
        top: Every statement of the program but `if __name__ == "__main__"`, which never runs.
        body: Of these, what stands outside of functions and classes, and the functions and classes that are
            used from there or from the function that was asked for.
        imported: What a name stands for that was imported: a module, or a thing in one, such as `time.sleep`.
    """

    top: tuple[ast.stmt, ...]
    body: tuple[ast.stmt, ...]
    imported: Mapping[str, str]

    def nodes(self) -> Iterator[ast.AST]:
        """Every node of the part that can run."""
        for statement in self.body:
            yield from ast.walk(statement)

    def path(self, node: ast.AST | None) -> str:
        """What an expression stands for, as the dotted path of a module and what is in it; a plain name as itself.

        `t.sleep` after `import time as t`, `__import__("time").sleep` and `sys.modules["time"].sleep` are all
        `time.sleep`. Empty for an expression of another kind.
        """
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.path(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call) and self.path(node.func) in IMPORTERS:
            return _constant_text(node.args[:1])
        if isinstance(node, ast.Subscript) and self.path(node.value) == "sys.modules":
            return _constant_text([node.slice])
        return ""

    def module(self, node: ast.AST) -> str:
        """The module that an expression is or lies in, as `time` for `time.x` and `vars(time)["x"]`; empty for none."""
        while isinstance(node, (ast.Attribute, ast.Subscript)) and self.path(node.value) != "sys.modules":
            node = node.value
        if isinstance(node, ast.Call) and self.path(node.func) == "vars" and node.args:
            return self.module(node.args[0])
        if isinstance(node, ast.Name):
            known = self.imported.get(node.id, "builtins" if node.id == "__builtins__" else "")
            return known.split(".")[0]
        return self.path(node).split(".")[0]


def _constant_text(nodes: Sequence[ast.expr]) -> str:
    return next((node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)), "")


def read_source(tree: ast.Module, function: str) -> Source:
    """What of a program can run when `function` is called, and what its names stand for."""
    statements = [node for node in tree.body if not _is_main_guard(node)]
    definitions = {node.name: node for node in statements if isinstance(node, _Definition)}
    runs_anyway = [node for node in statements if not isinstance(node, _Definition) or node.decorator_list]
    waiting = [*runs_anyway, *(node for node in [definitions.get(function)] if node is not None)]
    used: dict[int, ast.stmt] = {}
    while waiting:
        node = waiting.pop()
        if id(node) not in used:
            used[id(node)] = node
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            waiting += [definitions[name] for name in names if name in definitions]
    body = tuple(node for node in statements if id(node) in used)
    return Source(tuple(statements), body, _find_imports(body))


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _find_imports(body: Sequence[ast.stmt]) -> dict[str, str]:
    """What each imported name stands for, and each name that something imported was assigned to."""
    found: dict[str, str] = {}
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        if isinstance(node, ast.Import):
            whole = {alias.asname: alias.name for alias in node.names if alias.asname}
            roots = [alias.name.split(".")[0] for alias in node.names if not alias.asname]
            found |= whole | {root: root for root in roots}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module or ''}.{alias.name}" for alias in node.names}
    known = Source((), tuple(body), dict(found))
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if module := known.module(value):
                found.setdefault(name, known.path(value) or module)
    return found


def imported_modules(node: ast.AST) -> set[str]:
    """The modules that an import statement names, whole paths; empty for any other node."""
    if isinstance(node, ast.ImportFrom):
        return {node.module or ""}
    return {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()

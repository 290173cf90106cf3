"""Single changes of a module's operators, as edits of its source: what a test of the module's rules should notice.

Comparisons (the boundary, and the opposite), and/or, arithmetic, numbers, flags, signs and `not`, min/max, any/all,
conditions turned round, texts given by keyword emptied; default arguments with the rest. Left alone: docstrings,
annotations, decorators, what is raised, and text in f-strings.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, order=True)
class Mutant:
    """One changed expression of a module."""

    module: str
    line: int
    column: int
    before: str
    after: str
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}:{self.column} {self.before} -> {self.after}"

    def apply(self, source: bytes) -> bytes:
        """The module's source with this change."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants(module: str, source: bytes) -> list[Mutant]:
    """Every single change of a module, in the order of its source."""
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    changes = set()
    for node, decides in _sites(ast.parse(source)):
        for changed in _changes(node, decides):
            start, end = begins[node.lineno - 1] + node.col_offset, begins[node.end_lineno - 1] + node.end_col_offset
            text = ast.unparse(changed)
            after = text if isinstance(node, ast.stmt | ast.keyword) else f"({text})"
            changes.add(Mutant(module, node.lineno, node.col_offset, ast.unparse(node), after, start, end))
    return sorted(changes)


def _sites(tree: ast.AST, returns: bool = False) -> Iterator[tuple[Any, bool]]:
    """The nodes that may be changed, and whether each decides alone: a condition, or what a bool function returns."""
    if isinstance(tree, ast.FunctionDef):
        returns = isinstance(tree.returns, ast.Name) and tree.returns.id == "bool"
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield child, name in ("test", "ifs") or (returns and isinstance(tree, ast.Return))
            yield from _sites(child, returns)


def _changes(node: ast.AST, decides: bool) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*node.ops[:at], other(), *node.ops[at + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.BinOp() if type(node.op) in ARITHMETIC and not (_is_text(node.left) or _is_text(node.right)):
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        case ast.AugAssign() if type(node.op) in ARITHMETIC and not _is_text(node.value):
            yield _with(node, op=ARITHMETIC[type(node.op)]())
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield ast.Constant(node.value * 2 or 1.0)
        case ast.keyword(value=ast.Constant(value=str(text))) if text:
            yield ast.keyword(node.arg, ast.Constant(""))
        case ast.Name(id=name) if name in TWINS:
            yield _with(node, id=TWINS[name])
        case ast.Attribute(attr=name) if name in TWINS:
            yield _with(node, attr=TWINS[name])
    if decides and isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call | ast.NamedExpr):
        yield ast.UnaryOp(ast.Not(), node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed

"""Hyperparameters of a part (method, net, task, probe), read from its source without importing it.

A part is a frozen dataclass, and its module ends in `part = ClassName`. Fields, also inherited ones, are its
hyperparameters; their annotations say what is allowed:

    feedback: str | dict = "xavier_normal"                 alternatives
    scale: Annotated[float, "> 0"] = 1.0                   bounds: "> 0", ">= 0", "< 1", "<= 1", "(0, 1]", "[0, 1]", ...
    kind: Literal["sum", "mean"] = "mean"                  one of these
    sizes: tuple[int, ...]                                 any number of values; without a default: required
    pool: int | None = None                                may be absent
    init: Annotated[str | dict, "credit.nets.names.options"] = "xavier_normal"
                                                           names that this function knows (free of torch, see `Type`)
    controller: Dynamics = Dynamics(k_p=1.5)               a group: the fields of a frozen dataclass of this package

What excludes each other across fields, a part leaves to a function, see `exclusions`. A group is written as a mapping.
Where its class has `main: ClassVar[str] = NAME`, a bare value is that of NAME.

The Snakefile checks the configuration with this module, and parts check themselves with it, so that both agree.
Standard library only, because the Snakefile must not wait for torch.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from credit.config.fields import MISSING, REQUIRED, Field, Group, PerMember, Type, parse_bounds, written_as
from credit.errors import ConfigError, nearest

PACKAGE = Path(__file__).resolve().parents[1]
_PLAIN = ("float", "int", "bool", "str", "dict", "list")


@functools.cache
def fields(module: str, package_root: Path = PACKAGE, name: str | None = None) -> Mapping[str, Field]:
    """Hyperparameters of the part in `module` (dotted name), {name: field} in order; inherited ones first.

    name: of another class of the module, which declares its fields as a part does. Raises ConfigError naming file and
    line of an annotation or default that cannot be read.
    """
    return MappingProxyType(part_of(module, package_root, name).fields)


@functools.cache
def constants(module: str, package_root: Path = PACKAGE, name: str | None = None) -> Mapping[str, Any]:
    """Class constants of the part: its `ClassVar`s with literal values, also inherited ones. name: as in `fields`.

    Raises as `fields`.
    """
    return MappingProxyType(part_of(module, package_root, name).constants)


def check(
    module: str, values: Mapping[str, Any], where: str, stacked: bool = False, package_root: Path = PACKAGE,
    name: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All hyperparameters of the part in `module`: `values` with defaults filled in.

    Whole numbers become floats where the field is a float, lists become tuples. stacked: a number may also be a list
    with one for each member of the stack. where: what the message calls `values`, such as "file.yaml: methods.dfa".
    Raises ConfigError with a line `WHERE.KEY = VALUE; must be ...` for every problem.
    """
    problems: list[str] = []
    result = _check(fields(module, package_root, name), values, where, stacked, problems)
    if not problems and name is None:
        problems = [f"{where}.{problem}" for problem in exclusions(module, result, package_root=package_root)]
    if problems:
        raise ConfigError("\n".join(problems))
    return result


def exclusions(
    module: str, values: Mapping[str, Any], net: Mapping[str, Any] | None = None, package_root: Path = PACKAGE
) -> list[str]:
    """Which of the complete hyperparameters `values` of a part exclude each other, or the settings `net` of a net.

    A part names the function that knows as `excludes: ClassVar[str] = "credit.PACKAGE.MODULE.FUNCTION"`, free of torch:
    f(values, net), net None where only the values are to be checked, yields "KEY = VALUE; needs ...". Groups have
    `only_for: ClassVar[dict]`, see `Group`.
    """
    groups = {key: field.group for key, field in fields(module, package_root).items() if field.group}
    found = [problem for key, group in groups.items() for problem in group.idle(values[key], key)]
    name = constants(module, package_root).get("excludes")
    if name is None:
        return found
    owner, _, function = name.rpartition(".")
    return found + list(getattr(importlib.import_module(owner), function)(values, net))


def _check(
    known: Mapping[str, Field], values: Mapping[str, Any], where: str, stacked: bool, problems: list[str],
    bare: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`values` with defaults; what is wrong joins `problems`. bare: the field whose value stands at `where`."""
    problems += [_unknown(f"{where}.{key}", key, values[key], known) for key in values if key not in known]
    result: dict[str, Any] = {}
    for name, field in known.items():
        place = where if name == bare else f"{where}.{name}"
        if name not in values:
            if field.default is REQUIRED:
                problems.append(f"{place} is missing; must be {field.describe(stacked)}")
            result[name] = copy.deepcopy(field.default)
        elif (group := field.group) and isinstance(inner := group.spelled(values[name]), Mapping):
            main = None if inner is values[name] else group.main
            result[name] = _check(group.fields, inner, place, stacked, problems, main)
        else:
            result[name] = MISSING if group else field.convert(values[name], stacked)
            if result[name] is MISSING:
                problem = f"{place} = {values[name]!r}; must be {field.describe(stacked)}"
                problems.append(problem + _hint(values[name], field))
            else:
                if isinstance(result[name], PerMember):
                    result[name].option = place
                problems += _misnamed(field, values[name], place)
    return result


def spelled(module: str, values: Mapping[str, Any], package_root: Path = PACKAGE) -> dict[str, Any]:
    """`values` with bare values of groups as mappings, so that they can be merged key by key. Checks nothing."""
    return _spelled(fields(module, package_root), values)


def _spelled(known: Mapping[str, Field], values: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, value in values.items():
        if name in known and (group := known[name].group):
            inner = group.spelled(value)
            result[name] = _spelled(group.fields, inner) if isinstance(inner, Mapping) else inner
    return result


def instances(part: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked `values` of the part, its groups as instances of their dataclasses."""
    groups = {f.name: type(f.default) for f in dataclasses.fields(part) if dataclasses.is_dataclass(f.default)}
    return {k: groups[k](**instances(groups[k], v)) if k in groups else v for k, v in values.items()}


def _misnamed(field: Field, value: Any, place: str) -> list[str]:
    """What is wrong with the names in a value of the right type."""
    names = next((t.names for t in field.types if t.names), None)
    problems = []
    for one in () if names is None or value is None else value if isinstance(value, (tuple, list)) else (value,):
        try:
            _function(names)(one, place)
        except ConfigError as error:
            problems += str(error).splitlines()
    return problems


@functools.cache
def _function(name: str) -> Callable[[Any, str], Any]:
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


def _unknown(place: str, key: str, value: Any, known: Mapping[str, Field]) -> str:
    close = nearest(key, known)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    names = f"must be one of: {', '.join(sorted(known))}" if known else "this part has none"
    return f"{place} = {value!r}: no such hyperparameter{hint}; {names}"


def _hint(value: Any, field: Field) -> str:
    kinds = {t.kind for t in field.types}
    return written_as(value, fractions="float" in kinds) if kinds & {"float", "int"} else ""


# ---- reading the source


@functools.cache
def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: syntax error: {error.msg}") from error


class Part:
    """The class that a module binds to `part` (or the class `name`), as its source has it."""

    def __init__(self, module: str, package_root: Path, name: str | None = None):
        self.module, self.package_root = module, package_root
        self.path = self._file()
        self.tree = _parse(self.path)
        classes = {s.name: s for s in self.tree.body if isinstance(s, ast.ClassDef)}
        name = name or self._bound()
        if name not in classes:
            raise ConfigError(f"{self.path}: no class {name} is defined here")
        self.node = classes[name]
        self.bases = [base for base in map(self._base, self.node.bases) if base]

    @functools.cached_property
    def ancestors(self) -> frozenset[str]:
        """Dotted names of the class and of all its bases within the package."""
        return frozenset({f"{self.module}.{self.node.name}"}).union(*(base.ancestors for base in self.bases))

    def _file(self) -> Path:
        package, *rest = self.module.split(".")
        stem = self.package_root.joinpath(*rest)
        if package != self.package_root.name:
            return self._own_file()
        init = stem / "__init__.py"
        return init if init.is_file() else stem.with_suffix(".py")

    def _own_file(self) -> Path:
        """Where a module outside of the package stands: one that somebody has imported."""
        if not (file := getattr(sys.modules.get(self.module), "__file__", None)):
            raise ConfigError(f"{self.module}: has no file; to read it, write the class into a file and import that")
        return Path(file)

    def _bound(self) -> str:
        for statement in reversed(self.tree.body):
            if isinstance(statement, ast.Assign) and _name(statement.targets[0]) == "part":
                return ast.unparse(statement.value)
        raise ConfigError(f"{self.path}: no line `part = ClassName`, which makes a module a part")

    def _base(self, node: ast.expr) -> Part | None:
        """The base class, if it is one of this package."""
        if not isinstance(node, ast.Name):
            if ast.unparse(node).partition(".")[0] in ("typing", "abc"):
                return None
            self._fail(node, "name a base class plainly, after `from credit.MODULE import Base`")
        if any(isinstance(s, ast.ClassDef) and s.name == node.id for s in self.tree.body):
            return part_of(self.module, self.package_root, node.id)
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom):
                for alias in (a for a in statement.names if (a.asname or a.name) == node.id):
                    if statement.level:
                        self._fail(statement, f"import {node.id} with an absolute import")
                    if statement.module.partition(".")[0] == self.package_root.name:
                        return part_of(statement.module, self.package_root, alias.name)
        return None

    def _fail(self, node: ast.AST, problem: str):
        raise ConfigError(f"{self.path}, line {node.lineno}: {ast.unparse(node)}: {problem}")

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        """Own and inherited fields."""
        found: dict[str, Field] = {}
        for base in reversed(self.bases):  # like dataclasses: the first base has the last word
            found |= base.fields
        for statement in self.node.body:
            if isinstance(statement, ast.AnnAssign) and not _is_class_variable(statement):
                default = self._default(statement.value)
                if default is not MISSING:
                    field = Field(statement.target.id, *self._types(statement.annotation))
                    found[field.name] = self._with_default(field, default, statement)
        return found

    def _group(self, node: ast.Name) -> Group | None:
        """The dataclass of this package that an annotation names."""
        part = self._base(node)
        if part is None:
            return None
        known, main = part.fields, part.constants.get("main")
        if main is not None and main not in known:
            raise ConfigError(
                f"{part.path}, line {part.node.lineno}: main = {main!r} is none of the fields of {node.id}"
            )
        return Group(node.id, MappingProxyType(known), main, part.constants.get("only_for"))

    def _with_default(self, field: Field, default: Any, node: ast.AST) -> Field:
        if field.group:
            return field.with_defaults(self._group_default(field, default, node))
        value = default if default is REQUIRED else field.convert(default)
        if value is MISSING:
            self._fail(node, f"the default must be {field.describe()}")
        return dataclasses.replace(field, default=value)

    def _group_default(self, field: Field, default: Any, node: ast.AST) -> dict[str, Any]:
        """Values of a group whose default is written as its dataclass with literal values."""
        name, problems = field.group.name, []
        if not (isinstance(default, ast.Call) and _name(default.func) == name) or default.args:
            self._fail(node, f"the default must be written {name}() or {name}(FIELD=VALUE)")
        given = {k.arg: self._default(k.value) for k in default.keywords}
        values = _check(field.group.fields, given, field.name, False, problems)
        return values if not problems else self._fail(node, problems[0])

    @functools.cached_property
    def constants(self) -> dict[str, Any]:
        """Own and inherited class variables with literal values."""
        found: dict[str, Any] = {}
        for base in reversed(self.bases):
            found |= base.constants
        for statement in self.node.body:
            if isinstance(statement, ast.AnnAssign) and _is_class_variable(statement) and statement.value:
                name = statement.target.id
            elif isinstance(statement, ast.Assign) and _name(statement.targets[0]) in found:
                name = statement.targets[0].id  # a subclass need not repeat the annotation
            else:
                continue
            try:
                found[name] = ast.literal_eval(statement.value)
            except ValueError:
                found.pop(name, None)
        return found

    def _default(self, node: ast.expr | None) -> Any:
        """The default, REQUIRED, or `MISSING` for `field(init=False)`, which is no hyperparameter."""
        if node is None:
            return REQUIRED
        if isinstance(node, ast.Call) and _name(node.func) in ("field", "dataclasses.field"):
            given = {k.arg: k.value for k in node.keywords}
            if "init" in given and not ast.literal_eval(given["init"]):
                return MISSING
            if "default_factory" in given:
                empty = {"dict": {}, "tuple": (), "list": ()}
                name = _name(given["default_factory"])
                return empty[name] if name in empty else self._fail(node, "default_factory must be dict or tuple")
            return self._default(given.get("default"))
        try:
            return ast.literal_eval(node)
        except ValueError:
            if isinstance(node, ast.Call):  # of a group; others are told by the field's type
                return node
            return self._fail(node, "the default of a hyperparameter must be a literal")

    def _types(self, node: ast.expr) -> tuple[tuple[Type, ...], bool]:
        """Alternatives of an annotation, and whether None is one."""
        if isinstance(node, ast.Constant) and node.value is None:
            return (), True
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            (left, a), (right, b) = self._types(node.left), self._types(node.right)
            if any(t.group for t in left + right):
                self._fail(node, "a group has no alternatives")
            return left + right, a or b
        if isinstance(node, ast.Name) and node.id in _PLAIN:
            return (Type(node.id),), False
        if isinstance(node, ast.Name) and (group := self._group(node)):
            return (Type("group", group=group),), False
        if isinstance(node, ast.Subscript):
            read = {"Literal": self._literal, "Annotated": self._annotated, "tuple": self._tuple}
            name = _name(node.value).removeprefix("typing.")
            if name in read:
                return read[name](node)
            if name == "dict":
                return (Type("dict"),), False
        return self._fail(
            node,
            "a hyperparameter must be float, int, bool, str, dict, Literal, Annotated, tuple[X, ...], None, or a "
            "frozen dataclass of this package",
        )

    def _literal(self, node: ast.Subscript) -> tuple[tuple[Type, ...], bool]:
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        choices = tuple(ast.literal_eval(item) for item in items)
        named = tuple(c for c in choices if c is not None)
        return (Type("choice", choices=named),), len(named) < len(choices)

    def _annotated(self, node: ast.Subscript) -> tuple[tuple[Type, ...], bool]:
        inner, *notes = node.slice.elts
        types, optional = self._types(inner)
        texts = [note.value for note in notes if isinstance(note, ast.Constant)]
        if len(notes) == 1 and texts and re.fullmatch(r"[a-z_]\w*(\.\w+)+", str(texts[0])):
            return tuple(dataclasses.replace(t, names=texts[0]) for t in types), optional
        try:
            bounds = [parse_bounds(ast.literal_eval(note)) for note in notes]
        except (TypeError, ValueError) as error:
            return self._fail(node, str(error))
        if len(bounds) != 1:
            return self._fail(node, "give one text with the bounds")
        bounded = (Type(t.kind, bounds[0], t.choices, t.repeated) if t.numeric else t for t in types)
        return tuple(bounded), optional

    def _tuple(self, node: ast.Subscript) -> tuple[tuple[Type, ...], bool]:
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(items) != 2 or ast.unparse(items[1]) not in ("...", "Ellipsis"):
            return self._fail(node, "a tuple must be written tuple[X, ...]")
        types, optional = self._types(items[0])
        if optional or len(types) != 1 or types[0].repeated:
            return self._fail(node, "a tuple holds values of one plain type")
        return (Type(types[0].kind, types[0].bounds, types[0].choices, True),), False


part_of = functools.cache(Part)  # its bases and groups serve many


def _name(node: ast.expr | None) -> str:
    """A plain or dotted name as it is written, "" for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{outer}.{node.attr}" if (outer := _name(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def _is_class_variable(statement: ast.AnnAssign) -> bool:
    kind = statement.annotation
    return _name(kind.value if isinstance(kind, ast.Subscript) else kind) in ("ClassVar", "typing.ClassVar")

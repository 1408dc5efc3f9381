"""Source files of the package, read without running them: what they mean and what they import.

The *closure* of a root is the root with all modules of this package that it imports, at any depth, but for those
that only look on (`credit.watching`). A root is a dotted module name (`credit.methods.dfa`) or the path of a script
(`workflow/scripts/train.py`). Standard library only.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from credit.errors import ConfigError
from credit.provenance.remembered import Remembered, beside, content_key

PACKAGE = Path(__file__).resolve().parents[1]
ONLOOKERS = "watching"  # the part of the package that looks on while others work, and gives nothing to results
_NO_MEANING = frozenset({"ctx", "kind", "type_ignores"})
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def canonical(source: str | bytes) -> str:
    """Text of the syntax tree without docstrings, comments and formatting; the same for Python 3.10 to 3.13.

    Raises SyntaxError (ValueError for null bytes).
    """
    return _canonical(ast.parse(source))


def _canonical(node: Any) -> str:
    if isinstance(node, list):
        return f"[{','.join([_canonical(item) for item in node])}]"
    if not isinstance(node, ast.AST):
        return ascii(node)  # repr would depend on the Unicode tables of the Python version
    kind = type(node)
    parts = []
    for name in _meant(kind):
        value = getattr(node, name, None)
        if value is None:
            continue
        if name == "body" and kind in _DOCUMENTED and _is_text(value[:1]):
            value = value[1:]
        elif name == "values" and kind is ast.JoinedStr:  # Python 3.12.0 adds empty pieces
            value = [v for v in value if not (isinstance(v, ast.Constant) and v.value == "")]
        if value != []:  # newer versions of Python add fields, empty where the older syntax is used
            parts.append(f"{name}={_canonical(value)}")
    return f"{kind.__name__}({','.join(parts)})"


@functools.cache
def _meant(kind: type[ast.AST]) -> tuple[str, ...]:
    """Fields of a kind of node that have a meaning."""
    return tuple(name for name in kind._fields if name not in _NO_MEANING)


def _is_text(statements: list[ast.stmt]) -> bool:
    return any(
        isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and isinstance(s.value.value, str)
        for s in statements
    )


def digest(text: str) -> str:
    """First 16 hex digits of the sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Import(NamedTuple):
    """`import module` or, with `names`, `from module import names`; level: number of leading dots."""

    level: int
    module: str
    names: tuple[str, ...]
    line: int


class Source(NamedTuple):
    """What is known of a file: digest of its canonical text, and its import statements."""

    digest: str
    imports: tuple[Import, ...]


def read_source(path: Path, remembered: Remembered | None = None) -> Source:
    """Parse a file, or remember what was found in this content. Raises ConfigError naming file and line."""
    try:
        content = path.read_bytes()
        key = content_key(content) if remembered else ""
        if remembered and (entry := remembered[key]):
            return Source(entry[0], tuple(Import(level, module, tuple(n), at) for level, module, n, at in entry[1]))
        tree = ast.parse(content)
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: syntax error: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as Python: {error}") from error
    found = Source(digest(_canonical(tree)), tuple(sorted(_imports(tree.body), key=lambda i: i.line)))
    if remembered:
        remembered[key] = found
    return found


def _imports(statements: list[Any]) -> Iterator[Import]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name, (), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", tuple(a.name for a in node.names), node.lineno)
        else:
            skipped = _never_run(node)
            for branch in ("body", "orelse", "finalbody", "handlers", "cases"):
                if branch != skipped:
                    yield from _imports(getattr(node, branch, []))


def _never_run(node: Any) -> str:
    """The branch of an `if TYPE_CHECKING` that only type checkers read, else ''."""
    if not isinstance(node, ast.If):
        return ""
    test, branch = node.test, "body"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, branch = test.operand, "orelse"
    name = getattr(test, "id", getattr(test, "attr", ""))
    return branch if name == "TYPE_CHECKING" else ""


class Sources:
    """The package's source files as they are now. Every file is read once and then remembered.

    So all jobs of a workflow get digests of the same state, even while files are edited; a new instance looks
    again. package_root: folder of the package; its name is the package's name. remembered: what processes before
    found; of a job, what it has found itself.
    """

    def __init__(self, package_root: Path | str = PACKAGE, remembered: Remembered | None = None):
        self.remembered = remembered
        self.root = Path(package_root).resolve()
        self.package = self.root.name
        self.modules = dict(sorted(self._find()))
        self._sources: dict[Path, Source] = {}
        self._neighbours: dict[Path, dict[str, Path]] = {}
        self._follows: dict[Path, list[tuple[str, Path]]] = {}
        self._closures: dict[tuple, dict[str, Path]] = {}
        self._codes: dict[tuple, str] = {}

    def _find(self) -> Iterator[tuple[str, Path]]:
        # Listed, not probed: on a disk that ignores case, `from credit import Rand` would find rand.py.
        packages = []
        for path in self.root.rglob("*.py"):
            parts = [self.package, *path.relative_to(self.root).with_suffix("").parts]
            if parts[-1] == "__init__":
                packages.append((".".join(parts[:-1]), path))
            else:
                yield ".".join(parts), path
        yield from packages  # last: like Python, prefer x/__init__.py to x.py

    def source(self, path: Path) -> Source:
        """Digest and imports of a file. Raises ConfigError naming file and line of a syntax error."""
        if path not in self._sources:
            self._sources[path] = read_source(path, self.remembered)
        return self._sources[path]

    def imports(self, name: str, path: Path | None = None) -> dict[str, Path]:
        """What one module (or the script at `path`) imports directly, parent packages included.

        Raises ConfigError naming file and line of an import of something that does not exist.
        """
        path = path or self.modules[name]
        if path not in self._neighbours:
            found: dict[str, Path] = {}
            for item in self.source(path).imports:
                found |= self._resolve(name, path, item)
            self._neighbours[path] = found
        return self._neighbours[path]

    def _resolve(self, name: str, path: Path, item: Import) -> dict[str, Path]:
        script = name not in self.modules
        target = item.module
        if item.level:
            parent = "" if script else name if path.name == "__init__.py" else name.rpartition(".")[0]
            try:
                target = importlib.util.resolve_name("." * item.level + item.module, parent)
            except ImportError as error:
                raise ConfigError(f"{path}, line {item.line}: relative import beyond the package") from error
        top = target.partition(".")[0]
        if top != self.package:
            beside = path.with_name(f"{top}.py")  # Python looks in a script's own folder first
            return {beside.name: beside} if script and beside.is_file() else {}
        if target not in self.modules:
            raise ConfigError(f"{path}, line {item.line}: imports {target}, which is no module in {self.root}")
        found = self._with_parents(target)
        below = [f"{target}.{n}" for n in item.names]  # each is a module, or a name defined in `target`
        return found | {m: self.modules[m] for m in below if m in self.modules}

    def _with_parents(self, module: str) -> dict[str, Path]:
        parts = module.split(".")
        names = [".".join(parts[: i + 1]) for i in range(len(parts))]
        for name in names:
            if name not in self.modules:
                file = self.root.parent.joinpath(*name.split("."))
                raise ConfigError(f"{name}: no such module; expected {file}.py or {file}/__init__.py")
        return {name: self.modules[name] for name in names}

    def _root(self, root: str | Path) -> dict[str, Path]:
        if isinstance(root, str) and not root.endswith(".py"):
            return self._with_parents(root)
        path = Path(root).resolve()
        return {path.name: path}

    def closure(self, *roots: str | Path) -> dict[str, Path]:
        """{module name, or file name of a script: path} of the roots and all that they import, sorted."""
        if roots not in self._closures:
            found: dict[str, Path] = {}
            todo: list[tuple[str, Path]] = []
            items = [item for root in roots for item in self._root(root).items()]
            while items or todo:
                for name, path in items:
                    known = found.get(name)
                    if known is None:
                        found[name] = path
                        todo.append((name, path))
                    elif known is not path and known != path:  # mostly the same, and to compare paths takes its time
                        raise ConfigError(f"{path} and {known}: two scripts of one job need different names")
                items = self._followed(*todo.pop()) if todo else []
            self._closures[roots] = dict(sorted(found.items()))
        return dict(self._closures[roots])

    def _followed(self, name: str, path: Path) -> list[tuple[str, Path]]:
        """What counts of a module's imports."""
        if path not in self._follows:
            self._follows[path] = [(n, p) for n, p in self.imports(name, path).items() if not is_onlooker(n)]
        return self._follows[path]

    def digests(self, *roots: str | Path) -> dict[str, str]:
        """{module or script name: digest} of the closure."""
        return {name: self.source(path).digest for name, path in self.closure(*roots).items()}

    def code(self, *roots: str | Path) -> str:
        """One digest of the whole closure: of names and contents."""
        if roots not in self._codes:
            self._codes[roots] = combine(self.digests(*roots))
        return self._codes[roots]


def is_onlooker(module: str) -> bool:
    """Whether a module only looks on: it counts in no digest, so that what is shown can change and results stay."""
    return module.split(".")[1:2] == [ONLOOKERS]


def planning_sources(package_root: Path | str = PACKAGE) -> Sources:
    """Sources that remember what was found before; `remembered.save()` keeps what is new."""
    kept = beside(Path(package_root).resolve() / "__init__.py", "sources")
    return Sources(package_root, Remembered(kept, Path(__file__).read_bytes()))


def combine(modules: Mapping[str, str]) -> str:
    """The code digest that belongs to per-module digests."""
    return digest("".join(f"{name} {modules[name]}\n" for name in sorted(modules)))

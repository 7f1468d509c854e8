"""The reference: signatures as the sources write them, code and links in docstrings, inherited members, commands."""

import ast
import functools
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import mmap_ninja

PACKAGE = Path(mmap_ninja.__file__).parent
PREFIXES = re.compile(r"\b(?:mmap_ninja|npt|sources|loader|collections\.abc)\.(?=[A-Z])")  # of names in signatures
CODE = re.compile(r"(?<![`:\w])`([^`]+)`(?![`_])")

Definition = ast.FunctionDef | ast.ClassDef


class Stub(type):
    """What the sources name of a framework, as a class: the mocks of autodoc cannot stand in a union."""

    def __getattr__(cls, name: str) -> "Stub":
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub(name, (), {})

    def __getitem__(cls, _: object) -> "Stub":
        return cls

    def __setitem__(cls, *_: object) -> None:
        pass


class StubModule(ModuleType):
    """A module of a framework."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub(name, (), {})


def do_without_frameworks() -> None:
    """Put a stub in the place of each module that integrations import, whether or not it is installed."""
    for path in (PACKAGE / "integrations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in filter(None, names):
                parts = name.split(".")
                if parts[0] not in {"mmap_ninja", "numpy", *sys.stdlib_module_names}:
                    for end in range(1, len(parts) + 1):
                        part = ".".join(parts[:end])
                        sys.modules[part] = StubModule(part)


class Written:
    """An annotation as the source writes it, since an alias such as `Mode` says more than all of its values."""

    def __init__(self, node: ast.expr) -> None:
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
        self._text = PREFIXES.sub("", text)

    def __repr__(self) -> str:
        return self._text


@functools.cache
def definitions(path: str) -> dict[int, Definition]:
    """The functions and classes of a file, by the line on which they begin."""
    found = {}
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, Definition):
            found[min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])] = node
    return found


@functools.cache
def fields(name: str) -> dict[str, ast.expr]:
    """The annotations of a dataclass, whose constructor nobody has written."""
    trees = (ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py"))
    cls = next(node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        node.target.id: node.annotation
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def signature(
    _app: Sphinx, what: str, _name: str, found: Any, _options: Any, arguments: str | None, _returned: str | None
) -> tuple[str, str] | None:
    """The arguments and the result of a function or class; "()" on a page stays: users do not make such an object."""
    if arguments in (None, "()"):
        return None
    function = found.__init__ if isinstance(found, type) else getattr(found, "__func__", found)
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    annotations: dict[str, ast.expr | None]
    result = None
    if not Path(code.co_filename).is_file():
        annotations = {**fields(found.__name__)}
    else:
        node: Any = definitions(code.co_filename)[code.co_firstlineno]
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        annotations = {each.arg: each.annotation for each in every if each is not None}
        result = None if isinstance(found, type) else node.returns
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        annotation = annotations.get(parameter.name)
        shown.append(parameter.replace(annotation=parameter.empty if annotation is None else Written(annotation)))
    if what != "function":  # without `self`
        shown = shown[1:]
    return str(inspect.Signature(shown)), "" if result is None else repr(Written(result))


def docstring(_app: Sphinx, _what: str, name: str, found: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are written like Markdown: what stands between backticks is code, or the name of something public."""
    function = getattr(found, "__func__", getattr(found, "fget", None) or found)
    try:
        taken = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        taken = set()
    owner = found if isinstance(found, type) else owner_of(name)
    if owner is None and ".integrations." not in name:  # a framework has a `shuffle`, too
        owner = mmap_ninja.DatasetHandle

    def marked(match: re.Match[str]) -> str:
        text = " ".join(match[1].split())
        target = None if text in taken else target_of(text, owner)
        return f":py:obj:`{text} <{target}>`" if target else f"``{text}``"

    paragraphs = re.split(r"(\n\s*\n)", "\n".join(lines))
    lines[:] = "".join(
        part if part.lstrip().startswith(">>>") else CODE.sub(marked, part) for part in paragraphs
    ).split("\n")


def owner_of(name: str) -> type | None:
    """The public class that a documented member is shown at."""
    parts = name.removeprefix("mmap_ninja.").split(".")
    found = getattr(mmap_ninja, parts[0], None) if len(parts) == 2 else None
    return found if isinstance(found, type) else None


def target_of(text: str, owner: type | None) -> str | None:
    """What a text in a docstring names, if that is public."""
    parts = text.removeprefix("mmap_ninja.").removesuffix("()").split(".")
    if parts[0] in mmap_ninja.__all__:
        found = getattr(mmap_ninja, parts[0])
        if len(parts) == 1 and not inspect.ismodule(found) and not (owner and hasattr(owner, parts[0])):
            return f"mmap_ninja.{parts[0]}"
        if len(parts) == 2 and isinstance(found, type) and parts[1] in members_of(found):
            return f"mmap_ninja.{parts[0]}.{parts[1]}"
    if owner is not None and len(parts) == 1 and parts[0] in members_of(owner):
        return f"mmap_ninja.{owner.__name__}.{parts[0]}"
    return None


@functools.cache
def members_of(cls: type) -> dict[str, Any]:
    """The public members of a class that this package defines."""
    found = {}
    for name in dir(cls):
        definer = next(base for base in cls.__mro__ if name in vars(base))
        if not name.startswith("_") and definer.__module__.partition(".")[0] == "mmap_ninja":
            found[name] = vars(definer)[name]
    return found


def inherited(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> nodes.Node | None:
    """A link to a member that is shown at another class than the one that was named: at the first that has it."""
    match = re.fullmatch(r"mmap_ninja\.(\w+)\.(\w+)", node.get("reftarget", ""))
    cls = getattr(mmap_ninja, match[1], None) if match else None
    if match is None or not isinstance(cls, type) or match[2] not in members_of(cls):
        return None
    domain = env.domains.python_domain
    for name in mmap_ninja.__all__:
        other = getattr(mmap_ninja, name)
        target = f"mmap_ninja.{name}.{match[2]}"
        is_shown = isinstance(other, type) and target in domain.objects
        if is_shown and members_of(other).get(match[2]) is members_of(cls)[match[2]]:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
    return None


class Inherited(SphinxDirective):
    """The names of the members of a class that are shown at another one, as links."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        cls = getattr(mmap_ninja, name)
        links = [
            f":py:obj:`{member} <mmap_ninja.{name}.{member}>`"
            for member in members_of(cls)
            if member in members_of(mmap_ninja.DatasetHandle)
            and members_of(mmap_ninja.DatasetHandle)[member] is members_of(cls)[member]
        ]
        parsed = nodes.container()
        self.state.nested_parse(StringList([", ".join(links) + "."]), self.content_offset, parsed)
        return parsed.children


class Alias(SphinxDirective):
    """The name of a type in signatures, and what the source says it is."""

    required_arguments = 1  # the module in the package, and the name
    has_content = True

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        source = Path(importlib.import_module(f"mmap_ninja.{module}").__file__ or "").read_text()
        value = next(
            node.value
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
        )
        canonical = PREFIXES.sub("", ast.unparse(value)).replace("'", '"')
        lines = [f".. py:type:: {name}", f"   :canonical: {canonical}", "", *(f"   {line}" for line in self.content)]
        parsed = nodes.container()
        self.state.nested_parse(StringList(lines), self.content_offset, parsed)
        return parsed.children


class Commands(SphinxDirective):
    """All commands of the command line, each with its help."""

    def run(self) -> list[nodes.Node]:
        from mmap_ninja.cli.main import SECTIONS  # noqa: PLC0415 - click is needed only here

        return [self._of(command) for section in SECTIONS.values() for command in section]

    def _of(self, command: Any) -> nodes.section:
        import click  # noqa: PLC0415 - as above

        context = click.Context(command, info_name=f"mmap-ninja {command.name}")
        section = nodes.section(ids=[nodes.make_id(command.name)], names=[command.name])
        section += nodes.title(text=command.name)
        self.state.document.note_explicit_target(section)
        section += nodes.literal_block(text=" ".join([context.command_path, *command.collect_usage_pieces(context)]))
        for paragraph in (command.help or "").split("\n\n"):
            if "\b" in paragraph:
                lines = inspect.cleandoc(paragraph.replace("\b\n", "").replace("Example:\n", "")).splitlines()
                section += nodes.literal_block(text="\n".join(f"$ {line}" for line in lines), language="console")
            else:
                section += said(" ".join(paragraph.split()))
        section += self._options(command, context)
        return section

    def _options(self, command: Any, context: Any) -> nodes.definition_list:
        listed = nodes.definition_list()
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and record[1] and parameter.name not in ("debug", "help"):
                term = nodes.term("", "", nodes.literal(text=record[0]))
                listed += nodes.definition_list_item("", term, nodes.definition("", said(record[1])))
        return listed


def said(text: str) -> nodes.paragraph:
    """A paragraph of a help, with options as code."""
    parts = re.split(r"((?<!\S)--?[a-z][\w-]*)", text)
    return nodes.paragraph(
        "", "", *(nodes.literal(text=part) if place % 2 else nodes.Text(part) for place, part in enumerate(parts))
    )


def setup(app: Sphinx) -> dict[str, bool]:
    do_without_frameworks()
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring, priority=600)  # after Napoleon, whose sections it reads
    app.connect("missing-reference", inherited)
    app.add_directive("inherited", Inherited)
    app.add_directive("alias", Alias)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

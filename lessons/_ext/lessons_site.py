"""What Sphinx does here beyond its extensions: lists of lessons, operations with their source, MathJax.

`lesson-part 1-3` lists these lessons with their questions, and puts them under one caption of the sidebar;
`op-module scale` documents all that `senumpy/ops/scale.py` defines, and shows the file.
"""

from __future__ import annotations

import importlib
import inspect
import re
import struct
from itertools import pairwise
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective, SphinxRole

from senumpy import ops
from senumpy.lessons.catalogue import lessons
from senumpy.lessons.mathjax import copy_mathjax, mathjax_folder
from senumpy.markers import without_markers

_PIXELS_PER_INCH = 110  # at which a figure of 7 inches just fills the column


class LessonPart(SphinxDirective):
    """List some lessons with their questions, and put them into the sidebar."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the list and a hidden table of contents."""
        first, last = (int(number) for number in self.arguments[0].split("-"))
        (caption,) = self.content
        part = [one for one in lessons(Path(self.env.srcdir)) if first <= one.number <= last]
        if not part:
            return []
        lines = ["::::{toctree}", ":hidden:", f":caption: {caption}", "", *(one.name for one in part), "::::"]
        for one in part:
            lines += [
                "",
                "::::{container} lesson-entry",
                f"[{one.number}. {one.title}]({one.path.name})",
                "",
                one.question,
                "",
                f"{one.minutes} minutes. Paper: {one.paper}.",
                "::::",
            ]
        return _parsed(self, lines)


class OpModule(SphinxDirective):
    """Document the functions of one file of `senumpy.ops`, and show the file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the documentation of functions, then of caches and gradients, then the source."""
        name = f"senumpy.ops.{self.arguments[0]}"
        module = importlib.import_module(name)
        self.env.note_dependency(inspect.getsourcefile(module))
        own = [thing for thing in vars(module).values() if getattr(thing, "__module__", None) == name]
        functions = [
            thing for thing in own if inspect.isfunction(thing) and not thing.__name__.startswith("_")
        ]
        classes = [thing for thing in own if inspect.isclass(thing)]
        public = [thing for thing in functions if thing.__name__ in ops.__all__]
        helpers = [thing for thing in functions if thing.__name__ not in ops.__all__]
        lines = [f".. autofunction:: senumpy.ops.{thing.__name__}\n" for thing in public]
        if not public:  # a module of helpers
            lines += [f".. autofunction:: {name}.{thing.__name__}\n" for thing in helpers]
        lines += [f".. autoclass:: {name}.{thing.__name__}\n" for thing in classes]
        block = ["```{eval-rst}", *"\n".join(lines).splitlines(), "```"]
        return [*_parsed(self, block), _source(Path(inspect.getsourcefile(module)))]


def _source(path: Path) -> nodes.Node:
    """Return a file of the library as a block that opens."""
    text = without_markers(path.read_text(encoding="utf-8"))
    shown = nodes.literal_block(text, text, language="python")
    title = nodes.title("", "", nodes.Text("Source: "), nodes.literal("", f"senumpy/ops/{path.name}"))
    return nodes.admonition("", title, shown, classes=["dropdown", "source"], collapsible="closed")


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    node = nodes.Element()
    directive.state.nested_parse(StringList(lines, "generated"), 0, node)
    return node.children


class OpRole(SphinxRole):
    """A name in backticks in a docstring: a link where it is an operation, else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the node."""
        name = self.text
        if name not in ops.__all__:
            return [nodes.literal(self.rawtext, name)], []
        target = f"senumpy.ops.{name}"
        reference = addnodes.pending_xref(
            self.rawtext, refdomain="py", reftype="func", reftarget=target, refexplicit=True, refwarn=True
        )
        reference += nodes.literal(self.rawtext, f"{name}()", classes=["xref", "py", "py-func"])
        reference["refdoc"] = self.env.docname
        return [reference], []


class OpenAnswers(SphinxTransform):
    """Admonitions of class dropdown open on a click, by the browser's own means."""

    default_priority = 500

    def apply(self, **_: object) -> None:
        """Mark them for Sphinx's writer."""
        for node in self.document.findall(nodes.admonition):
            if "dropdown" in node["classes"]:
                node["collapsible"] = "closed"


class FigureSizes(SphinxPostTransform):
    """Figures are shown in the size in which they were drawn, whatever their pixels: sharp on any screen."""

    default_priority = 100  # after myst-nb has chosen among formats

    def run(self, **_: object) -> None:
        """Set the width of each PNG that says how many pixels make an inch."""
        for node in self.document.findall(nodes.image):
            inches = _inches(Path(self.env.srcdir) / node["uri"])
            if inches is not None and "width" not in node:
                node["width"] = f"{inches * _PIXELS_PER_INCH:.0f}px"


def _inches(path: Path) -> float | None:
    """Return the width of a PNG in inches, where it says so."""
    if path.suffix != ".png" or not path.is_file():
        return None
    head = path.read_bytes()[:4096]
    at = head.find(b"pHYs")
    if at < 0:
        return None
    (pixels,) = struct.unpack(">I", head[16:20])
    per_metre, _, unit = struct.unpack(">IIB", head[at + 4 : at + 13])
    return pixels / per_metre / 0.0254 if unit == 1 and per_metre else None


def _translate_docstring(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Turn a NumPy docstring into reStructuredText: formulas as literal blocks, sections as lists."""
    headings = [at - 1 for at, line in enumerate(lines) if at and re.fullmatch(r"-{3,}", line)]
    translated = _formulas(lines[: headings[0]] if headings else lines)
    for begin, end in pairwise([*headings, len(lines)]):
        translated += [
            "",
            f".. rubric:: {lines[begin]}",
            "",
            *_section(lines[begin], lines[begin + 2 : end]),
            "",
        ]
    lines[:] = translated


def _formulas(lines: list[str]) -> list[str]:
    """Make literal blocks of indented lines, which reStructuredText takes for quotations."""
    marked: list[str] = []
    inside = False
    for at, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not inside and not lines[at - 1].strip():
            marked += ["::", ""]
        inside = indented or (inside and not line.strip())
        marked.append(line)
    return marked


def _section(heading: str, lines: list[str]) -> list[str]:
    """Make a list of definitions of a section's entries, `name : what` with indented lines below."""
    if heading not in ("Parameters", "Returns", "Raises", "Attributes"):
        return lines
    entries: list[str] = []
    for at, line in enumerate(lines):
        if not line or line.startswith(" "):
            entries.append(line)
            continue
        names, _, what = line.partition(" : ")
        what = re.sub(r"\{[^}]*\}", r"``\g<0>``", what)
        literals = ", ".join(f"``{one.strip()}``" for one in names.split(","))
        entries.append(f"{literals} : {what}" if what else literals)
        if at + 1 == len(lines) or not lines[at + 1].startswith(" "):
            entries.append("    \\ ")  # a definition must not be empty
    return entries


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        copy_mathjax(mathjax_folder(), Path(app.outdir) / "_static" / "mathjax")


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.add_directive("lesson-part", LessonPart)
    app.add_directive("op-module", OpModule)
    app.add_role("op", OpRole())
    app.add_transform(OpenAnswers)
    app.add_post_transform(FigureSizes)
    app.connect("autodoc-process-docstring", _translate_docstring)
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

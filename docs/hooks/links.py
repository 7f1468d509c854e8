"""Links to files outside docs lead to the page that shows such a file, or to the file in the repository.

They are written as GitHub wants them: relative to the file that they stand in, which a page may include.
"""

import os
from pathlib import Path
from urllib.parse import quote

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)


class Links(SphinxTransform):
    default_priority = 200  # before MyST makes more such nodes of links within a page

    def apply(self) -> None:
        docs = Path(self.app.srcdir)
        root = docs.parent
        for kind in (addnodes.pending_xref, addnodes.download_reference):
            for node in [node for node in self.document.findall(kind) if node.get("reftype") == "myst"]:
                target, _, anchor = self.written(node).partition("#")
                file = Path(os.path.normpath(Path(node.source).parent / target))
                if not file.exists() or not file.is_relative_to(root):
                    logger.warning("the link to %r leads nowhere", target, location=node)
                    continue
                name = file.relative_to(root).as_posix()
                page = self.config.links_pages.get(name)
                if page is None and file.suffix == ".md" and file.is_relative_to(docs):
                    page = file.relative_to(docs).with_suffix("").as_posix()
                node.replace_self(
                    self.to_page(page, anchor, node) if page else self.to_repository(file, name, anchor, node)
                )

    def written(self, node: nodes.Element) -> str:
        """Return a link as it was written: MyST has read those to pages as relative to the page."""
        if node.get("refdomain") != "doc":
            return node["reftarget"]
        docs = Path(self.app.srcdir)
        path = os.path.relpath(docs / f"{node['reftarget']}.md", docs.joinpath(node["refdoc"]).parent)
        return f"{path}#{node['reftargetid']}" if node["reftargetid"] else path

    def to_page(self, page: str, anchor: str, node: nodes.Element) -> nodes.Element:
        link = addnodes.pending_xref(
            refdomain="doc", reftype="myst", reftarget=page, reftargetid=anchor or None, refdoc=self.env.docname,
            refexplicit=True,
        )  # fmt: skip
        link.source, link.line = node.source, node.line
        link += node.children
        return link

    def to_repository(self, file: Path, name: str, anchor: str, node: nodes.Element) -> nodes.Element:
        kind = "tree" if file.is_dir() else "blob"
        uri = f"{self.config.links_repository}/{kind}/main/{quote(name)}{'#' if anchor else ''}{anchor}"
        return nodes.reference("", "", *node.children, refuri=uri, internal=False)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("links_repository", "", "env", str)
    app.add_config_value("links_pages", {}, "env", dict)
    app.add_transform(Links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

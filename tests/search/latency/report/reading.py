"""A page as a person's browser sees it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Elements, text and tables of a document; refuses one whose tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.title = ""
        self._open: list[str] = []
        self._texts: list[str] = []
        self._table = ""
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    @property
    def text(self) -> str:
        return " ".join(self._texts)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = attributes["id"]
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in {"th", "td"}:
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"th", "td"}:
            self.tables[self._table][-1][-1] += data
        if self._open and self._open[-1] == "title":
            self.title += data
        if self._open and self._open[-1] != "style":
            self._texts.append(data)

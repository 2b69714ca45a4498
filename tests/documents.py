"""What a program can say about a page without looking at it: html5lib's reading of the markup."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

import html5lib

# What a person types into, emptied for a form that is sent with nothing in it.
TYPED = {"text", "email", "password", "number", "search", "tel", "url", "date", "datetime-local"}


@dataclass(frozen=True)
class PostForm:
    """A form of a page: number is its place among the page's forms that POST, fields what an empty one sends."""

    number: int
    action: str
    fields: list[tuple[str, str]]

    def target(self, page: str) -> str:
        """Return where it goes from the page at that address."""
        return urljoin(page, self.action)

    @property
    def data(self) -> dict[str, list[str]]:
        names = dict.fromkeys(name for name, _ in self.fields)
        return {name: [value for each, value in self.fields if each == name] for name in names}


class Document:
    def __init__(self, text: str) -> None:
        parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False)
        self.root: Element = parser.parse(text)
        lines = text.splitlines()
        # (position, code, data) of everything that a strict parser would have stopped at.
        self.errors = [f"{code} {data}: {lines[line - 1].strip()[:120]}" for (line, _), code, data in parser.errors]

    @property
    def language(self) -> str | None:
        return self.root.get("lang")

    @cached_property
    def title(self) -> str:
        return " ".join("".join(title.text or "" for title in self.root.iterfind("head/title")).split())

    @property
    def h1_count(self) -> int:
        return sum(1 for _ in self.root.iter("h1"))

    @property
    def main_count(self) -> int:
        return sum(1 for _ in self.root.iter("main"))

    @property
    def repeated_ids(self) -> list[str]:
        ids = Counter(element.get("id") for element in self.root.iter() if element.get("id"))
        return [str(name) for name, count in ids.items() if count > 1]

    @property
    def dangling_references(self) -> list[str]:
        """Ids that a label, a description or a control names and nothing has."""
        ids = {element.get("id") for element in self.root.iter()}
        named = [
            word
            for element in self.root.iter()
            for attribute in ("for", "aria-describedby", "aria-labelledby", "aria-controls", "popovertarget", "list")
            for word in (element.get(attribute) or "").split()
        ]
        return [name for name in named if name not in ids]

    def post_forms(self) -> list[PostForm]:
        """The forms in the page's main part that change something."""
        forms = [
            form
            for main in self.root.iter("main")
            for form in main.iter("form")
            if (form.get("method") or "").lower() == "post"
        ]
        return [PostForm(number, form.get("action") or "", _empty(form)) for number, form in enumerate(forms)]


def _empty(form: Element) -> list[tuple[str, str]]:
    fields = []
    for element in form.iter():
        name, kind = element.get("name"), (element.get("type") or "text").lower()
        if name is None or element.get("disabled") is not None:
            continue
        if element.tag == "textarea" or (element.tag == "input" and kind in TYPED):
            fields.append((name, ""))
        elif element.tag == "input" and (kind == "hidden" or (kind == "radio" and element.get("checked") is not None)):
            fields.append((name, element.get("value") or ""))
        elif element.tag == "select":
            options = list(element.iter("option"))
            chosen = [option for option in options if option.get("selected") is not None] or options[:1]
            fields += [(name, option.get("value") or "") for option in chosen]
    return fields


def wrongs(document: Document) -> list[str]:
    """Say what is wrong with a page, in words; nothing for a sound one."""
    found = [f"invalid HTML: {error}" for error in document.errors]
    found += [f"id used twice: {name}" for name in document.repeated_ids]
    found += [f"names an id that is not there: {name}" for name in document.dangling_references]
    if not document.language:
        found.append("has no lang")
    if not document.title:
        found.append("has no title")
    if document.h1_count != 1:
        found.append(f"has {document.h1_count} h1")
    if document.main_count != 1:
        found.append(f"has {document.main_count} main")
    return found

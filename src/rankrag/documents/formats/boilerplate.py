"""Which parts of a page are its main text, and which are navigation, notices and frames."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

Element = Any  # lxml's elements have no types of their own

_PLACES = frozenset("nav header footer aside div section ul ol table p span dl form details".split())  # noqa: SIM905
_NAVIGATION = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|navheader|navfooter|navlinks?|breadcrumbs?|menu|menubar|sidebar|"
    r"sphinxsidebar|related|pagination|pager|prevnext|prev-next|skip|skiplink|skip-link|toc|toctree|share|sharing|"
    r"social|banner|topbar|linklist|site-header|site-footer|footer|masthead|promo|newsletter|advert|ads)(?:$|[\s_-])"
    r"|sphinxsidebar|navheader|navfooter|breadcrumb",
    re.IGNORECASE,
)
_ALWAYS = re.compile(r"navheader|navfooter|sphinxsidebar|breadcrumb", re.IGNORECASE)
_NOTICE = re.compile(r"cookie|consent|gdpr|onetrust|cc-window|cc-banner", re.IGNORECASE)
_PERMALINKS = {"¶", "#", "🔗", "§", ""}
_STRING = etree.XPath("string()")


def text_of(element: Element) -> str:
    """Return all text below an element."""
    return str(_STRING(element))


def size(element: Element) -> int:
    """Return the number of characters below an element."""
    return len(text_of(element))


def _linked(element: Element) -> float:
    """Return the share of an element's characters that are links."""
    size = len("".join(text_of(element).split()))
    return sum(len("".join(text_of(link).split())) for link in element.iter("a", "option")) / size if size else 1


def main_of(root: Element) -> Element:
    """Return the element that says it is the main text, unless most of the page's text is elsewhere."""
    body = next(root.iter("body"), root)
    found = [e for e in body.iter("main", "div", "article") if e.tag == "main" or e.get("role") == "main"]
    if len(found) == 1 and size(found[0]) > 0.4 * (size(body) - _unseen_size(body)):
        return found[0]
    return body


def _unseen_size(body: Element) -> int:
    return sum(size(element) for element in body.iter("script", "style", "noscript", "select", "nav", "template"))


def dropped_from(start: Element, root: Element) -> set[Element]:
    """Return the elements that are navigation or notices; none where they are nearly all of the page."""
    dropped = {e for e in start.iter(*_PLACES) if _is_boilerplate(e)}
    for element in root.iter("a"):
        if "".join(text_of(element).split()) in _PERMALINKS and not len(element):
            dropped.add(element)
    left = size(start) - sum(size(e) for e in dropped if not any(a in dropped for a in e.iterancestors()))
    return dropped if left > 0.05 * size(start) or left > 500 else set()


def _is_boilerplate(element: Element) -> bool:
    tag = element.tag
    name = f"{element.get('class', '')} {element.get('id', '')} {element.get('role', '')}"
    if tag == "nav":
        return next(element.iter("h1"), None) is None
    if tag in ("header", "footer", "aside") or "contentinfo" in name:
        return _is_frame(element, tag)
    if name == "  ":
        return False
    if _NOTICE.search(name):
        return next(element.iter("h1", "main", "article"), None) is None and size(element) < 3_000
    if not _NAVIGATION.search(name) and "navigation" not in name:
        return False
    if next(element.iter("h1", "main", "article"), None) is not None:
        return False
    if _ALWAYS.search(name):
        return True
    if _linked(element) < 0.5:
        return False
    return "toc" not in name or _is_of_this_page(element)


def _is_frame(element: Element, tag: str) -> bool:
    """Whether a header, footer or aside frames the page, instead of being part of its text."""
    if next(element.iter("h1", "main", "article"), None) is not None:
        return False
    if tag == "aside":
        return _linked(element) > 0.5
    if any(above.tag in ("main", "article") for above in element.iterancestors()):
        return tag != "header" and _linked(element) > 0.5
    return size(element) < 1_500 and (tag == "footer" or next(element.iter("h2", "h3"), None) is None)


def _is_of_this_page(element: Element) -> bool:
    """Whether a table of contents lists headings that the page itself has."""
    links = [link.get("href", "") for link in element.iter("a")]
    return bool(links) and sum(link.startswith("#") for link in links) > 0.8 * len(links)

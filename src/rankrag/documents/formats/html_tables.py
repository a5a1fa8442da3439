"""Tables of a page: whether one holds data, and its rows as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rankrag.documents.document import one_line
from rankrag.documents.formats.boilerplate import Element, size


@dataclass
class Grid:
    """A table that is being read."""

    header: list[list[str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    row: list[str] = field(default_factory=list)
    names: int = 0  # cells of the row that are names
    cell: list[str] | None = None
    spans: dict[int, tuple[int, str]] = field(default_factory=dict)  # rows that a cell reaches into, and its text

    def fill(self) -> None:
        """Repeat the cells of earlier rows that reach into this one, so that each row can be read by itself."""
        while (reach := self.spans.get(len(self.row), (0, "")))[0] > 0:
            self.spans[len(self.row)] = (reach[0] - 1, reach[1])
            self.row.append(reach[1])

    def end_cell(self, across: int, down: int, *, name: bool) -> None:
        """Put the cell that was read into the row."""
        text = one_line("".join(self.cell or ()))
        self.cell = None
        for place in range(across):
            self.fill()
            if down > 1:
                self.spans[len(self.row)] = (down - 1, "" if place else text)
            self.row.append("" if place else text)
        self.names += name

    def end_row(self, *, in_head: bool) -> None:
        """Put the row that was read into the header or below it."""
        self.fill()
        filled = sum(bool(cell) for cell in self.row)
        if filled:
            is_header = in_head or (self.names >= max(2, filled) and not self.rows)
            (self.header if is_header else self.rows).append(self.row)
        self.row, self.names = [], 0


def is_grid(table: Element) -> bool:
    """Whether a table holds data, and is no frame for the layout of a page."""
    if table.get("role") in ("presentation", "none"):
        return False
    if next(table.iter("h1", "h2", "h3", "pre"), None) is not None:
        return False
    rows = [row for row in table.iter("tr") if next(row.iterancestors("table"), None) is table]
    cells = [sum(cell.tag in ("td", "th") for cell in row) for row in rows]
    if next((cell for row in rows for cell in row if cell.tag == "th"), None) is not None:
        return max(cells, default=0) > 1 or len(rows) > 1
    several = sum(count > 1 for count in cells)
    nested = any(inner is not table for inner in table.iter("table"))
    return several > 1 and several >= len(cells) / 2 and not nested and size(table) < 400 * max(1, sum(cells))


def span_of(element: Element, name: str) -> int:
    """Return how many columns or rows a cell reaches over, 100 at most."""
    return min(max(number_of(element, name, 1), 1), 100)


def number_of(element: Element, name: str, default: int) -> int:
    """Return the number that an attribute holds, else the default."""
    value = element.get(name, "").strip()
    return int(value) if value.isdecimal() else default


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: all filled, short and without digits, above rows that have some."""
    if len(rows) < 3 or len(rows[0]) < 2:
        return False
    first, others = rows[0], rows[1:]
    if not all(cell and len(cell) < 40 and not any(c.isdigit() for c in cell) for cell in first):
        return False
    return sum(any(c.isdigit() for cell in row for c in cell) for row in others) >= len(others) / 2

"""The frame of a report: one HTML file that needs nothing beside it, neither network nor script.

Rule: text becomes HTML here alone, and whatever comes in as text is escaped; an id from the data is never markup.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import NamedTuple

import numpy as np
import pandas as pd

NONE = "-"


class Shown(NamedTuple):
    """What became of a result. html: of its section; says: sentences for the summary."""

    html: str
    says: list[str]


class Section(NamedTuple):
    """A heading and the HTML below it."""

    title: str
    html: str

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def date(day: int) -> str:
    """The date of a day number.

    >>> date(10_227)
    '1998-01-01'
    """
    return str(np.datetime64(day, "D"))


def paragraph(text: str, kind: str = "") -> str:
    """kind: a class of style.css."""
    return f"<p{_class(kind)}>{escape(text)}</p>\n"


def heading(text: str) -> str:
    """Within a section."""
    return f"<h3>{escape(text)}</h3>\n"


def items(texts: Sequence[str]) -> str:
    """A list."""
    return "<ul>\n" + "".join(f"<li>{escape(text)}</li>\n" for text in texts) + "</ul>\n"


def facts(pairs: Mapping[str, str]) -> str:
    """Terms with what they are."""
    rows = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>\n" for term, text in pairs.items())
    return f'<dl class="facts">\n{rows}</dl>\n'


def table(frame: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None, chosen: object = None) -> str:
    """The index, which heads the rows, and the columns, in a box that scrolls by itself; numbers on the right.

    formats: by column, of its floats (default ,.3f); NaN is a dash. chosen: the row (of the index) that stands out.
    """
    columns = [(str(name), frame[name].tolist()) for name in frame]
    heads = [f'<th scope="col">{escape(str(frame.index.name or ""))}</th>']
    for name, values in columns:
        kind = "" if any(isinstance(value, str) for value in values) else "n"
        heads.append(f'<th scope="col"{_class(kind)}>{escape(name)}</th>')
    rows = []
    for i, head in enumerate(frame.index.tolist()):
        cells = [_cell(values[i], (formats or {}).get(name, ",.3f")) for name, values in columns]
        kind = "chosen" if head == chosen else ""
        rows.append(f'<tr{_class(kind)}><th scope="row">{escape(str(head))}</th>{"".join(cells)}</tr>\n')
    return (
        f'<figure class="table">\n<figcaption>{escape(caption)}</figcaption>\n<div class="scroll"><table>\n'
        f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n</figure>\n"
    )


def _cell(value: object, form: str) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="n">{_number(value, form)}</td>'


def _number(value: object, form: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    assert isinstance(value, float), value
    return NONE if math.isnan(value) else f"{value:{form}}"


def figure(svg: str, alt: str, caption: str, wide: bool = False) -> str:
    """An SVG element with what it shows, for who cannot see it, and what to look for. wide: scrolls in its own box."""
    drawn = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    box = f'<div class="scroll">{drawn}</div>' if wide else drawn
    return f"<figure>\n{box}\n<figcaption>{escape(caption)}</figcaption>\n</figure>\n"


def figures(*each: str) -> str:
    """Side by side where there is room."""
    return f'<div class="figures">\n{"".join(each)}</div>\n'


def details(summary: str, html: str) -> str:
    """What opens when asked."""
    return f"<details><summary>{escape(summary)}</summary>\n{html}</details>\n"


def document(title: str, lead: str, opening: str, says: Sequence[str], sections: Sequence[Section], end: str) -> str:
    """The whole page. opening: HTML; says: the sentences of the summary."""
    style = (resources.files("offline.report") / "style.css").read_text("utf-8")
    links = "".join(f'<li><a href="#{each.anchor}">{escape(each.title)}</a></li>\n' for each in sections)
    bodies = "".join(
        f'<section id="{each.anchor}">\n<h2>{escape(each.title)}</h2>\n{each.html}</section>\n' for each in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{paragraph(lead, "lead")}{opening}</header>
<nav aria-label="Contents"><ol>
{links}</ol></nav>
<main>
<section class="says">
<h2>What it says</h2>
{items(says)}</section>
{bodies}</main>
<footer>{paragraph(end)}</footer>
</body>
</html>
"""


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

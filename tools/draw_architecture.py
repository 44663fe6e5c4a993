"""Draw docs/architecture.svg: the roles of RFC 5598 as two domains exchange a message, and the layers they stand on.

    python tools/draw_architecture.py > docs/architecture.svg

The picture is made from the two tables below, so that a new role is a line here.
"""

from __future__ import annotations

from html import escape

INK, PAPER, WAX, LINE = "#22313f", "#fbf8f1", "#a3343a", "#8a94a0"

# (name, what it does, column, row): the sending domain above, the receiving one below
ROLES = [
    ("mua", "compose · protect", 0, 0),
    ("msa", "authenticate · prepare · sign", 1, 0),
    ("mta", "queue · route · outbound", 2, 0),
    ("mta", "inbound · assess", 2, 1),
    ("mda", "aliases · deliver", 3, 1),
    ("store", "log · index · changes", 4, 1),
    ("access", "IMAP · POP3", 4, 0),
]
ARROWS = [(0, 1, "submission 465 587"), (1, 2, ""), (2, 3, "SMTP 25, TLS"), (3, 4, ""), (4, 5, ""), (5, 6, "")]
LAYERS = [
    ("cli · web · lab · admd", "faces, the miniature Internet, and the wiring of one domain"),
    ("postmaster · hostmaster · registrar · mla", "what a domain reports, publishes in DNS, certifies, and lists"),
    ("mua · access · msa → mta → mda → store", "the roles of RFC 5598; imports point the way the mail flows"),
    ("host", "everything impure: sockets, TLS, files, clocks, the resolver, the ledger"),
    (
        "trust | protocols",
        "decisions: spf dkim dmarc arc dane dnssec pkix smime | conversations: smtp imap pop3 sasl dns",
    ),
    ("formats", "values: imf mime · asn1 x509 cms · dns · reports"),
]
WIDTH, BOX_WIDTH, BOX_HEIGHT, GAP = 1040, 168, 58, 36


def text(x: float, y: float, words: str, *, size: int = 13, color: str = INK, bold: bool = False) -> str:
    """Return words centred on a point."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="middle"{weight}>{escape(words)}</text>'


def corner(column: int, row: int) -> tuple[float, float]:
    """Return the upper left corner of a role's box."""
    return 28 + column * (BOX_WIDTH + GAP), 52 + row * (BOX_HEIGHT + 62)


def roles() -> list[str]:
    """Return the boxes of the roles and the arrows of the message between them."""
    parts = []
    for name, work, column, row in ROLES:
        x, y = corner(column, row)
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
            f'fill="white" stroke="{INK}" stroke-width="1.4"/>'
        )
        parts.append(text(x + BOX_WIDTH / 2, y + 25, name, size=16, bold=True))
        parts.append(text(x + BOX_WIDTH / 2, y + 44, work, size=11, color=LINE))
    for start, end, label in ARROWS:
        _, _, column, row = ROLES[start]
        _, _, to_column, to_row = ROLES[end]
        x, y = corner(column, row)
        to_x, to_y = corner(to_column, to_row)
        if row == to_row:
            line = (x + BOX_WIDTH, y + BOX_HEIGHT / 2, to_x - 7, y + BOX_HEIGHT / 2)
            place = (x + BOX_WIDTH + GAP / 2, y - 9)
        else:
            middle = x + BOX_WIDTH / 2
            down = to_row > row
            line = (middle, y + (BOX_HEIGHT if down else 0), middle, to_y - 7 if down else to_y + BOX_HEIGHT + 7)
            place = (middle + 52, (y + to_y + BOX_HEIGHT) / 2 + 4)
        parts.append(
            f'<line x1="{line[0]:g}" y1="{line[1]:g}" x2="{line[2]:g}" y2="{line[3]:g}" '
            f'stroke="{WAX}" stroke-width="2" marker-end="url(#tip)"/>'
        )
        if label:
            parts.append(text(*place, label, size=11, color=WAX))
    return parts


def layers(top: float) -> list[str]:
    """Return the layers, the highest first."""
    parts = []
    for number, (name, meaning) in enumerate(LAYERS):
        y = top + number * 38
        inset = number * 8
        parts.append(
            f'<rect x="{28 + inset}" y="{y:g}" width="{WIDTH - 56 - 2 * inset}" height="32" rx="4" fill="white" stroke="{LINE}"/>'
        )
        parts.append(
            f'<text x="{44 + inset}" y="{y + 21:g}" font-size="13" fill="{INK}"><tspan font-weight="600">{escape(name)}</tspan>'
            f'<tspan fill="{LINE}" dx="12">{escape(meaning)}</tspan></text>'
        )
    return parts


def picture() -> str:
    """Return the whole picture."""
    top = 52 + 2 * BOX_HEIGHT + 62 + 50
    height = top + len(LAYERS) * 38 + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
            'font-family="Helvetica, Arial, sans-serif">',
            f'<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{WAX}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER}"/>',
            text(WIDTH / 2, 28, "A message from one domain to another, and the layers underneath", size=16, bold=True),
            *roles(),
            text(WIDTH / 2, top - 14, "imports point only downward", size=12, color=LINE),
            *layers(top),
            "</svg>",
        ]
    )


if __name__ == "__main__":
    print(picture())

"""THREAD: the messages a search found, as trees of who answered whom.

Standards: RFC 5256 section 3 (THREAD; ORDEREDSUBJECT and REFERENCES, whose steps the comments number) and section 4.
Limits: of a message's references the last REFERENCES_LIMIT count; a chain is followed up for CHAIN_LIMIT links when a
loop is looked for, and not lengthened beyond. Nothing recurses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from letterlock.access.imap import header_fields
from letterlock.access.imap.contents import chunks
from letterlock.access.imap.sort import collated, read_subject, sent_instant
from letterlock.formats.imf.message_ids import parse_message_id, parse_message_ids
from letterlock.protocols.imap.command import ThreadAlgorithm
from letterlock.store.interface import Contents
from letterlock.store.snapshot import Snapshot

REFERENCES_LIMIT = 100
CHAIN_LIMIT = 1000


@dataclass(eq=False, slots=True)
class Node:
    """A message in a thread; a dummy, known only from references, has slot -1."""

    slot: int = -1
    sent: int = 0
    subject: str = ""
    is_reply: bool = False
    parent: Node | None = None
    is_parent: bool = False
    children: list[Node] = field(default_factory=list)

    @property
    def is_dummy(self) -> bool:
        """Whether there is no such message here."""
        return self.slot < 0


async def thread(store: Contents, snapshot: Snapshot, slots: list[int], algorithm: ThreadAlgorithm) -> list[Node]:
    """Return the threads of the messages in `slots`, oldest first."""
    nodes = []
    identities: list[tuple[str, tuple[str, ...]]] = []
    for chunk in chunks(snapshot, slots, by_size=False):
        subjects = await _texts(store, snapshot, chunk, b"subject")
        dates = await _texts(store, snapshot, chunk, b"date")
        for slot, subject, date in zip(chunk, subjects, dates, strict=True):
            base, is_reply = read_subject(subject)
            nodes.append(Node(slot, sent_instant(date, snapshot.internal_dates[slot]), collated(base), is_reply))
        if algorithm is ThreadAlgorithm.REFERENCES:
            own = await _texts(store, snapshot, chunk, b"message-id")
            references = await _texts(store, snapshot, chunk, b"references")
            answered = await _texts(store, snapshot, chunk, b"in-reply-to")
            for one, several, last in zip(own, references, answered, strict=True):
                parents = parse_message_ids(several)[-REFERENCES_LIMIT:] or parse_message_ids(last)[:1]
                identities.append((parse_message_id(one), parents))
    if algorithm is ThreadAlgorithm.ORDERED_SUBJECT:
        return _by_subject(nodes)
    return _by_references(nodes, identities)


async def _texts(store: Contents, snapshot: Snapshot, slots: Sequence[int], name: bytes) -> list[str]:
    chunk = slots if isinstance(slots, range | list) else list(slots)
    found = await header_fields.values(store, snapshot, chunk, name)
    return [values[0].decode("utf-8", "replace") if values else "" for values in found]


def _by_subject(nodes: Iterable[Node]) -> list[Node]:
    threads: dict[str, Node] = {}
    for node in sorted(nodes, key=_age):
        first = threads.setdefault(node.subject, node)
        if first is not node:
            first.children.append(node)
    return list(threads.values())


def _by_references(nodes: list[Node], identities: list[tuple[str, tuple[str, ...]]]) -> list[Node]:
    everything = _linked(nodes, identities)
    roots = []
    for node in everything:  # (2)
        if node.parent is None:
            roots.append(node)
        else:
            node.parent.children.append(node)
    roots = _sorted_roots(_pruned(roots))
    roots = _merged(roots)
    for node in reversed(_walk(roots)):  # (6)
        node.children.sort(key=_age)
    return sorted(roots, key=_age)


def _linked(nodes: list[Node], identities: list[tuple[str, tuple[str, ...]]]) -> list[Node]:
    """Return all nodes, dummies included, with their parents (1)."""
    known: dict[str, Node] = {}
    twins: list[Node] = []  # messages without an identifier of their own
    for node, (identity, _) in zip(nodes, identities, strict=True):
        if identity and identity not in known:
            known[identity] = node
        else:
            twins.append(node)
    for node, (_, references) in zip(nodes, identities, strict=True):
        above: Node | None = None
        for reference in references:  # (1)(A)
            below = known.setdefault(reference, Node())
            if above is not None and below.parent is None:
                _link(above, below)
            above = below
        node.parent = None  # (1)(B)
        if above is not None:
            _link(above, node)
    return [*known.values(), *twins]


def _link(parent: Node, child: Node) -> None:
    """Make a link unless it would close a loop."""
    if child is parent:
        return
    if child.is_parent:
        above: Node | None = parent
        for _ in range(CHAIN_LIMIT):
            if above is None:
                break
            if above is child:
                return
            above = above.parent
        else:
            return
    child.parent = parent
    parent.is_parent = True


def _walk(roots: Iterable[Node]) -> list[Node]:
    """Return every node of the trees, each before its children."""
    order, pending = [], list(roots)
    while pending:
        node = pending.pop()
        order.append(node)
        pending += node.children
    return order


def _pruned(roots: list[Node]) -> list[Node]:
    """Return the trees without the dummies that hold nothing together (3)."""
    for node in reversed(_walk(roots)):
        node.children = [kept for child in node.children for kept in (child.children if child.is_dummy else (child,))]
    return [kept for root in roots for kept in (root.children if root.is_dummy and len(root.children) < 2 else (root,))]


def _sorted_roots(roots: list[Node]) -> list[Node]:
    for root in roots:  # (4)
        if root.is_dummy:
            root.children.sort(key=_age)
    return sorted(roots, key=_age)


def _merged(roots: list[Node]) -> list[Node]:
    """Return the trees with those of one base subject made one (5)."""
    table: dict[str, Node] = {}
    for root in roots:
        subject, is_reply = _thread_subject(root)
        held = table.get(subject)
        if not subject:
            continue
        replaces = (
            held is not None and not held.is_dummy and (root.is_dummy or (_thread_subject(held)[1] and not is_reply))
        )
        if held is None or replaces:
            table[subject] = root
    result: dict[Node, None] = {}
    for root in roots:
        subject, is_reply = _thread_subject(root)
        held = table.get(subject)
        if held is None or held is root:
            result[root] = None
        elif held.is_dummy:
            held.children += root.children if root.is_dummy else [root]
        elif is_reply and not _thread_subject(held)[1]:
            held.children.append(root)
        else:
            table[subject] = both = Node(children=[held, root])
            result = {both if one is held else one: None for one in result}
            result[both] = None
    return list(result)


def _thread_subject(root: Node) -> tuple[str, bool]:
    shown = root.children[0] if root.is_dummy else root
    return shown.subject, not root.is_dummy and shown.is_reply


def _age(node: Node) -> tuple[int, int]:
    shown = min(node.children, key=lambda child: (child.sent, child.slot)) if node.is_dummy else node
    return shown.sent, shown.slot


def encode(threads: Iterable[Node], number: Callable[[int], int]) -> bytes:
    """Return threads as THREAD tells them; `number` gives the number of a slot."""
    written: list[bytes] = []
    pending: list[Node | bytes] = []
    for root in threads:
        pending = [b")", root, b"("]
        while pending:
            item = pending.pop()
            if isinstance(item, bytes):
                written.append(item)
                continue
            children: list[Node | bytes] = list(item.children)
            if len(children) > 1:
                children = [part for child in item.children for part in (b"(", child, b")")]
            if not item.is_dummy:
                written.append(b"%d" % number(item.slot))
                if children:
                    written.append(b" ")
            pending += reversed(children)
    return b"".join(written)

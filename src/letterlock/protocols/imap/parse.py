"""Parse one whole IMAP command (without its tag) into a value of command.py.

`COMMANDS` is the table of what is understood: for each name, how its arguments are read. Which command is allowed in
which state stands in server.py. Octets that do not follow the grammar raise Malformed, which becomes a tagged BAD.

Standards: RFC 9051 section 6 and section 9; RFC 3501 for what rev2 dropped.
Limits: lists of at most LIST_LIMIT items; see also fetch_item and search_key.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from letterlock.errors import Malformed
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import mailbox_name, sequence_set
from letterlock.protocols.imap.fetch_item import read_items
from letterlock.protocols.imap.scan import Scanner
from letterlock.protocols.imap.search_key import SearchKey, SearchKeyReader
from letterlock.protocols.imap.sequence_set import SequenceSet

LIST_LIMIT = 200
_SELECTIONS = frozenset({b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"})
_RETURNS = frozenset({b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS"})


class Arguments(Scanner):
    """A scanner that knows how this client writes mailbox names."""

    __slots__ = ("utf8",)

    def __init__(self, octets: bytes, position: int = 0, *, utf8: bool) -> None:
        super().__init__(octets, position)
        self.utf8 = utf8

    def mailbox(self) -> str:
        """Return a mailbox name."""
        start = self.position
        return mailbox_name.from_wire(self.astring(), utf8=self.utf8, offset=start)

    def numbers(self) -> SequenceSet:
        """Return a sequence set."""
        start = self.position
        return sequence_set.parse(self.sequence_set(), start)

    def text(self) -> str:
        """Return an astring of UTF-8."""
        start = self.position
        try:
            return self.astring().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("a string that is not UTF-8", offset=start, clause="RFC 9051 section 4.3") from None


def parse(octets: bytes, position: int, *, utf8: bool) -> c.Command:
    """Return the command that stands in `octets` from `position` (behind the tag and its space) to the end."""
    arguments = Arguments(octets, position, utf8=utf8)
    start = arguments.position
    name = arguments.keyword()
    uid = name == b"UID"
    if uid:
        arguments.space()
        name = arguments.keyword()
    reader = (_UID_COMMANDS if uid else COMMANDS).get(name)
    if reader is None:
        raise Malformed("an unknown command", offset=start, clause="RFC 9051 section 6")
    command = reader(arguments, uid)
    arguments.end()
    return command


def _plain(command: c.Command) -> Callable[[Arguments, bool], c.Command]:
    return lambda _arguments, _uid: command


def _of_mailbox(build: Callable[[str], c.Command]) -> Callable[[Arguments, bool], c.Command]:
    def read(arguments: Arguments, _uid: bool) -> c.Command:
        arguments.space()
        return build(arguments.mailbox())

    return read


def _identify(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    if arguments.peek() != b"(":
        arguments.nstring()
        return c.Identify(())
    # RFC 2971 section 3.3: at most 30 pairs; values of NIL say nothing.
    values = arguments.listed(arguments.nstring, limit=60, empty=True)
    texts = [(value or b"").decode("utf-8", "replace")[:1024] for value in values]
    return c.Identify(tuple(zip(texts[::2], texts[1::2], strict=False)))


def _authenticate(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    mechanism = arguments.keyword().decode("ascii")
    if not arguments.take(b" "):
        return c.Authenticate(mechanism, None)
    start = arguments.position
    encoded = arguments.octets[start:]
    arguments.position = len(arguments.octets)
    return c.Authenticate(mechanism, decode_base64(b"" if encoded == b"=" else encoded, start))


def decode_base64(octets: bytes, offset: int = 0) -> bytes:
    """Return what the base64 of an AUTHENTICATE exchange stands for. Raises Malformed."""
    try:
        return binascii.a2b_base64(octets, strict_mode=True)
    except binascii.Error:
        raise Malformed("not base64", offset=offset, clause="RFC 9051 section 6.2.2") from None


def _login(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    user = arguments.text()
    arguments.space()
    return c.Login(user, arguments.text())


def _enable(arguments: Arguments, _uid: bool) -> c.Command:
    names = []
    while not arguments.at_end():
        arguments.space()
        names.append(arguments.keyword())
    if not names:
        arguments.fail("a capability", "RFC 9051 section 6.3.1")
    return c.Enable(tuple(names))


def _select(read_only: bool) -> Callable[[Arguments, bool], c.Command]:
    def read(arguments: Arguments, _uid: bool) -> c.Command:
        arguments.space()
        mailbox = arguments.mailbox()
        parameters: list[c.Resynchronization | None] = []
        if arguments.take(b" "):
            parameters = arguments.listed(lambda: _select_parameter(arguments), limit=LIST_LIMIT)
        known = next((parameter for parameter in parameters if parameter is not None), None)
        return c.Select(mailbox, read_only, None in parameters, known)

    return read


def _select_parameter(arguments: Arguments) -> c.Resynchronization | None:
    """Return the arguments of QRESYNC, None for CONDSTORE."""
    name = arguments.keyword()
    if name == b"CONDSTORE":
        return None
    if name != b"QRESYNC":
        arguments.fail("no SELECT parameter but CONDSTORE and QRESYNC", "RFC 7162 section 3.2.5")
    arguments.space()
    arguments.expect(b"(", "the arguments of QRESYNC")
    uid_validity = arguments.number()
    arguments.space()
    modseq = arguments.number()
    known = None
    while arguments.take(b" "):
        if arguments.take(b"("):  # numbers with their UIDs would only spare us work (RFC 7162 section 3.2.5.2)
            arguments.numbers()
            arguments.space()
            arguments.numbers()
            arguments.expect(b")", "the end of the known numbers")
        else:
            known = arguments.numbers()
    arguments.expect(b")", "the end of the arguments of QRESYNC")
    return c.Resynchronization(uid_validity, modseq, known)


def _create(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    # RFC 9051 section 6.3.4: a trailing hierarchy separator only declares that children will follow.
    mailbox = arguments.mailbox().removesuffix("/")
    if not arguments.take(b" "):
        return c.Create(mailbox, None)
    # RFC 6154 section 3: CREATE name (USE (\Sent))
    arguments.expect(b"(", "create parameters")
    if arguments.keyword() != b"USE":
        arguments.fail("USE", "RFC 6154 section 3")
    arguments.space()
    uses = arguments.listed(arguments.flag, limit=LIST_LIMIT, empty=True)
    arguments.expect(b")", "the end of the create parameters")
    if len(uses) > 1:
        arguments.fail("at most one special use", "RFC 6154 section 3")
    return c.Create(mailbox, uses[0] if uses else None)


def _rename(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    mailbox = arguments.mailbox()
    arguments.space()
    return c.Rename(mailbox, arguments.mailbox().removesuffix("/"))


def _pattern(arguments: Arguments) -> str:
    start = arguments.position
    return mailbox_name.from_wire(arguments.list_mailbox(), utf8=arguments.utf8, offset=start)


def _lsub(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    reference = arguments.mailbox()
    arguments.space()
    pattern = _pattern(arguments)
    return c.List(reference, (pattern,), frozenset({b"SUBSCRIBED"}), frozenset(), (), lsub=True, extended=False)


def _list(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    extended = False
    selection: list[bytes] = []
    if arguments.peek() == b"(":
        extended = True
        selection = arguments.listed(arguments.keyword, limit=LIST_LIMIT, empty=True)
        if not _SELECTIONS.issuperset(selection):
            arguments.fail("LIST selection options that are known", "RFC 9051 section 6.3.9.1")
        if selection == [b"RECURSIVEMATCH"] or set(selection) == {b"RECURSIVEMATCH", b"REMOTE"}:
            arguments.fail("an option beside RECURSIVEMATCH", "RFC 9051 section 6.3.9.1")
        arguments.space()
    reference = arguments.mailbox()
    arguments.space()
    if arguments.peek() == b"(":
        extended = True
        patterns = arguments.listed(lambda: _pattern(arguments), limit=LIST_LIMIT)
    else:
        patterns = [_pattern(arguments)]
    returns, status = _list_returns(arguments)
    extended = extended or bool(returns)
    return c.List(reference, tuple(patterns), frozenset(selection), returns, status, lsub=False, extended=extended)


def _list_returns(arguments: Arguments) -> tuple[frozenset[bytes], tuple[c.StatusItem, ...]]:
    if not arguments.take(b" "):
        return frozenset(), ()
    if arguments.keyword() != b"RETURN":
        arguments.fail("RETURN", "RFC 9051 section 6.3.9.2")
    arguments.space()
    status: tuple[c.StatusItem, ...] = ()

    def option() -> bytes:
        nonlocal status
        name = arguments.keyword()
        if name not in _RETURNS:
            arguments.fail("a LIST return option that is known", "RFC 9051 section 6.3.9.2")
        if name == b"STATUS":
            arguments.space()
            status = _status_items(arguments)
        return name

    return frozenset(arguments.listed(option, limit=LIST_LIMIT, empty=True)), status


def _status_items(arguments: Arguments) -> tuple[c.StatusItem, ...]:
    def item() -> c.StatusItem:
        try:
            return c.StatusItem(arguments.keyword())
        except ValueError:
            arguments.fail("a STATUS item that is known", "RFC 9051 section 6.3.11")

    return tuple(dict.fromkeys(arguments.listed(item, limit=LIST_LIMIT)))


def _status(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    mailbox = arguments.mailbox()
    arguments.space()
    return c.Status(mailbox, _status_items(arguments))


def _get_quota(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    return c.GetQuota(arguments.text(), None)


def _append(arguments: Arguments, _uid: bool) -> c.Command:
    arguments.space()
    mailbox = arguments.mailbox()
    arguments.space()
    flags: list[bytes] = []
    if arguments.peek() == b"(":
        flags = arguments.listed(arguments.flag, limit=LIST_LIMIT, empty=True)
        arguments.space()
    internal_date = None
    if arguments.peek() == b'"':
        internal_date = arguments.date_time()
        arguments.space()
    wrapped = arguments.utf8 and not arguments.at_literal() and arguments.keyword() == b"UTF8"
    if wrapped:  # RFC 6855 section 4
        arguments.space()
        arguments.expect(b"(", "the message in parentheses")
    if not arguments.at_literal():
        arguments.fail("the message as a literal", "RFC 9051 section 6.3.12")
    message, _ = arguments.literal()
    if wrapped:
        arguments.expect(b")", "the end of the message")
    return c.Append(mailbox, tuple(flags), internal_date, message)


def _expunge(arguments: Arguments, uid: bool) -> c.Command:
    if not uid:
        return c.Expunge(None)
    arguments.space()
    return c.Expunge(arguments.numbers())


def _search(arguments: Arguments, uid: bool) -> c.Command:
    results, charset = None, b"UTF-8"
    start = arguments.position
    while arguments.take(b" ") and arguments.peek().isalpha():
        word = arguments.keyword()
        if word == b"RETURN" and results is None:
            arguments.space()
            results = _results(arguments)
        elif word == b"CHARSET":
            arguments.space()
            charset = arguments.astring().upper()
        else:
            break
        start = arguments.position
    arguments.position = start
    arguments.space()
    return c.Search(_search_key(arguments, charset), results, charset, uid)


def _search_key(arguments: Arguments, charset: bytes) -> SearchKey:
    # An unknown charset is answered NO, not BAD (RFC 9051 section 6.4.4), so its strings need only be read.
    decoded_as = {b"UTF-8": "utf-8", b"US-ASCII": "ascii"}.get(charset, "latin-1")
    return SearchKeyReader(arguments, decoded_as).program()


def _sort(arguments: Arguments, uid: bool) -> c.Command:
    arguments.space()
    criteria = tuple(arguments.listed(lambda: _sort_criterion(arguments), limit=LIST_LIMIT))
    arguments.space()
    charset = arguments.astring().upper()
    arguments.space()
    return c.Sort(criteria, _search_key(arguments, charset), charset, uid)


def _thread(arguments: Arguments, uid: bool) -> c.Command:
    arguments.space()
    try:
        algorithm = c.ThreadAlgorithm(arguments.keyword())
    except ValueError:
        arguments.fail("ORDEREDSUBJECT or REFERENCES", "RFC 5256 section 3")
    arguments.space()
    charset = arguments.astring().upper()
    arguments.space()
    return c.Thread(algorithm, _search_key(arguments, charset), charset, uid)


def _sort_criterion(arguments: Arguments) -> c.SortCriterion:
    word = arguments.keyword()
    reverse = word == b"REVERSE"
    if reverse:
        arguments.space()
        word = arguments.keyword()
    try:
        return c.SortCriterion(c.SortKey(word), reverse)
    except ValueError:
        arguments.fail("a sort key", "RFC 5256 section 3")


def _results(arguments: Arguments) -> frozenset[c.Result]:
    def option() -> c.Result:
        try:
            return c.Result(arguments.keyword())
        except ValueError:
            arguments.fail("a SEARCH return option that is known", "RFC 9051 section 6.4.4")

    # No option means ALL (RFC 9051 section 6.4.4).
    return frozenset(arguments.listed(option, limit=LIST_LIMIT, empty=True)) or frozenset({c.Result.ALL})


def _fetch(arguments: Arguments, uid: bool) -> c.Command:
    arguments.space()
    numbers = arguments.numbers()
    arguments.space()
    items = read_items(arguments)
    changed_since, vanished = None, False
    if arguments.take(b" "):
        changed_since = _modifier(arguments, b"CHANGEDSINCE")
        if uid and arguments.take(b" "):
            vanished = arguments.keyword() == b"VANISHED" or arguments.fail("VANISHED", "RFC 7162 section 3.2.6")
        arguments.expect(b")", "the end of the modifiers")
    return c.Fetch(numbers, items, uid, changed_since, vanished)


def _modifier(arguments: Arguments, name: bytes) -> int:
    # RFC 7162 section 3.1.3 and section 3.1.4.1
    arguments.expect(b"(", "a list of modifiers")
    if arguments.keyword() != name:
        arguments.fail(f"the modifier {name.decode()}", "RFC 7162 section 3.1")
    arguments.space()
    return arguments.number()


def _store(arguments: Arguments, uid: bool) -> c.Command:
    arguments.space()
    numbers = arguments.numbers()
    arguments.space()
    unchanged_since = None
    if arguments.peek() == b"(":
        unchanged_since = _modifier(arguments, b"UNCHANGEDSINCE")
        arguments.expect(b")", "the end of the modifiers")
        arguments.space()
    change = next(change for change in reversed(c.FlagChange) if arguments.take(change.value))
    word = arguments.keyword()
    if word not in {b"FLAGS", b"FLAGS.SILENT"}:
        arguments.fail("FLAGS or FLAGS.SILENT", "RFC 9051 section 6.4.6")
    arguments.space()
    if arguments.peek() == b"(":
        flags = arguments.listed(arguments.flag, limit=LIST_LIMIT, empty=True)
    else:
        flags = [arguments.flag()]
        while arguments.take(b" ") and len(flags) < LIST_LIMIT:
            flags.append(arguments.flag())
    return c.Store(numbers, change, tuple(flags), word == b"FLAGS.SILENT", uid, unchanged_since)


def _copy(move: bool) -> Callable[[Arguments, bool], c.Command]:
    def read(arguments: Arguments, uid: bool) -> c.Command:
        arguments.space()
        numbers = arguments.numbers()
        arguments.space()
        return c.Copy(numbers, arguments.mailbox(), move, uid)

    return read


_UID_COMMANDS: dict[bytes, Callable[[Arguments, bool], c.Command]] = {
    b"EXPUNGE": _expunge,
    b"SEARCH": _search,
    b"SORT": _sort,
    b"THREAD": _thread,
    b"FETCH": _fetch,
    b"STORE": _store,
    b"COPY": _copy(move=False),
    b"MOVE": _copy(move=True),
}
COMMANDS: dict[bytes, Callable[[Arguments, bool], c.Command]] = {
    b"CAPABILITY": _plain(c.Capability()),
    b"NOOP": _plain(c.Noop()),
    b"CHECK": _plain(c.Noop()),
    b"LOGOUT": _plain(c.Logout()),
    b"ID": _identify,
    b"STARTTLS": _plain(c.StartTls()),
    b"AUTHENTICATE": _authenticate,
    b"LOGIN": _login,
    b"ENABLE": _enable,
    b"SELECT": _select(read_only=False),
    b"EXAMINE": _select(read_only=True),
    b"CREATE": _create,
    b"DELETE": _of_mailbox(c.Delete),
    b"RENAME": _rename,
    b"SUBSCRIBE": _of_mailbox(lambda mailbox: c.Subscribe(mailbox, subscribed=True)),
    b"UNSUBSCRIBE": _of_mailbox(lambda mailbox: c.Subscribe(mailbox, subscribed=False)),
    b"LIST": _list,
    b"LSUB": _lsub,
    b"NAMESPACE": _plain(c.Namespace()),
    b"STATUS": _status,
    b"GETQUOTA": _get_quota,
    b"GETQUOTAROOT": _of_mailbox(lambda mailbox: c.GetQuota(None, mailbox)),
    b"APPEND": _append,
    b"IDLE": _plain(c.Idle()),
    b"CLOSE": _plain(c.Close()),
    b"UNSELECT": _plain(c.Unselect()),
    **_UID_COMMANDS,
}

"""Commands on mailboxes: SELECT, CREATE and their kin, LIST, STATUS, APPEND.

Standards: RFC 9051 section 6.3; RFC 3501 section 6.3 (RECENT and UNSEEN at SELECT), RFC 4315 (APPENDUID),
RFC 6154 (special use), RFC 7162 section 3.1.2 (HIGHESTMODSEQ) and section 3.2.5 (QRESYNC), RFC 7889 (APPENDLIMIT),
RFC 8474 section 4 (MAILBOXID), RFC 9208 section 4 (QUOTA).
"""

from __future__ import annotations

from itertools import compress

from letterlock.access.imap.answer import No
from letterlock.access.imap.context import Context, Done, flag_names
from letterlock.access.imap.listing import Listed, list_mailboxes
from letterlock.access.imap.messages import tell_vanished
from letterlock.access.imap.view import View
from letterlock.errors import Malformed
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import response
from letterlock.protocols.imap.sequence_set import LARGEST, SequenceSet
from letterlock.store.interface import Mailbox, NewMessage
from letterlock.store.snapshot import DELETED, SEEN

_SPECIAL_USES = {
    use.lower(): use for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
}


async def select(context: Context, _tag: bytes, command: c.Select) -> Done:
    """Open a mailbox and tell what it holds; whatever was open before is closed, even where this fails."""
    known = command.resynchronization
    if known is not None and not context.qresync:
        raise Malformed("ENABLE QRESYNC comes first", clause="RFC 7162 section 3.2.5")
    if context.view is not None:
        context.deselect()
        context.write(b"* OK [CLOSED] The mailbox that was open is closed\r\n")
    mailbox = await context.mailbox(command.mailbox)
    context.condstore = context.condstore or command.condstore
    view = View(mailbox.name, await context.store.open(mailbox.id), read_only=command.read_only)
    context.view = view
    context.conversation.selected()
    context.write(b"".join(_opening(context, view, mailbox)))
    if known is not None and known.uid_validity == view.told.uid_validity:
        await _resynchronize(context, view, known)
    return Done("the mailbox is open", b"READ-ONLY" if command.read_only else b"READ-WRITE")


async def _resynchronize(context: Context, view: View, known: c.Resynchronization) -> None:
    """Tell what was removed and changed since the client last looked (RFC 7162 section 3.2.5.1)."""
    uids = known.known_uids or SequenceSet(((1, LARGEST),))
    await tell_vanished(context, view, uids, known.modseq)
    slots = view.slots(uids, uid=True)
    changed = [slot for slot in slots if view.told.modseqs[slot] > known.modseq]
    for line in view.flag_rows(view.told, changed, context.manner()):
        await context.send(line)


def _opening(context: Context, view: View, mailbox: Mailbox) -> list[bytes]:
    told = view.told
    lines = [*view.flag_lines(told), b"* %d EXISTS\r\n" % len(told)]
    if context.rev2:
        lines.append(Listed(mailbox.name, (), mailbox).encode(utf8=True))
    else:
        lines.append(b"* 0 RECENT\r\n")
        unseen = told.selector(SEEN).find(b"\0")
        if unseen >= 0:
            lines.append(b"* OK [UNSEEN %d] First message that is not seen\r\n" % (unseen + 1))
    lines.append(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % told.uid_validity)
    lines.append(b"* OK [UIDNEXT %d] Next UID\r\n" % told.uid_next)
    lines.append(b"* OK [HIGHESTMODSEQ %d] Newest change\r\n" % told.highest_modseq)
    lines.append(b"* OK [MAILBOXID (F%d)] Its id\r\n" % told.mailbox)
    return lines


async def create(context: Context, _tag: bytes, command: c.Create) -> Done:
    """Make a mailbox, and those above it."""
    use = ""
    if command.special_use is not None:
        use = _SPECIAL_USES.get(command.special_use.decode("ascii").lower(), "")
        if not use:
            raise No("this special use is not known here", b"USEATTR")  # RFC 6154 section 3
    if not command.mailbox:
        raise No("a mailbox needs a name", b"CANNOT")
    made = await context.store.create(context.account, command.mailbox, use)
    return Done("created", b"MAILBOXID (F%d)" % made.id)


async def delete(context: Context, _tag: bytes, command: c.Delete) -> Done:
    """Delete a mailbox; what is below it stays."""
    await context.store.delete(context.account, command.mailbox)
    if context.view is not None and context.view.name == command.mailbox:
        context.deselect()
    return Done("deleted")


async def rename(context: Context, _tag: bytes, command: c.Rename) -> Done:
    """Rename a mailbox and all below it."""
    await context.store.rename(context.account, command.mailbox, command.new_name)
    if context.view is not None and command.mailbox != "INBOX":
        open_name = context.view.name
        if open_name == command.mailbox or open_name.startswith(command.mailbox + "/"):
            context.view.name = command.new_name + open_name[len(command.mailbox) :]
    return Done("renamed")


async def subscribe(context: Context, _tag: bytes, command: c.Subscribe) -> Done:
    """Add a name to, or remove it from, the subscriptions."""
    await context.store.subscribe(context.account, command.mailbox, command.subscribed)
    return Done("subscribed" if command.subscribed else "unsubscribed")


async def list_names(context: Context, _tag: bytes, command: c.List) -> Done:
    """Answer LIST and LSUB."""
    utf8 = context.conversation.utf8
    if command.patterns == ("",) and not command.extended:
        # RFC 9051 section 6.3.9: an empty pattern asks for the separator.
        verb = b"LSUB" if command.lsub else b"LIST"
        context.write(b"* " + verb + b' (\\Noselect) "/" ""\r\n')
        return Done("that is the separator")
    mailboxes = await context.store.mailboxes(context.account)
    subscriptions = await context.store.subscriptions(context.account)
    for listed in list_mailboxes(command, mailboxes, subscriptions):
        line = listed.encode(utf8=utf8, lsub=command.lsub)
        if command.status and listed.mailbox is not None:
            line += await _status_line(context, listed.mailbox, command.status)
        await context.send(line)
    return Done("listed")


async def namespace(context: Context, _tag: bytes, _command: c.Namespace) -> Done:
    """Tell the one personal namespace there is (RFC 2342 section 5)."""
    context.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    return Done("those are the namespaces")


async def status(context: Context, _tag: bytes, command: c.Status) -> Done:
    """Tell the counts of a mailbox."""
    context.condstore = context.condstore or c.StatusItem.HIGHESTMODSEQ in command.items
    mailbox = await context.mailbox(command.mailbox)
    context.write(await _status_line(context, mailbox, command.items))
    return Done("that is the status")


async def _status_line(context: Context, mailbox: Mailbox, items: tuple[c.StatusItem, ...]) -> bytes:
    values = {
        c.StatusItem.MESSAGES: mailbox.messages,
        c.StatusItem.UIDNEXT: mailbox.uid_next,
        c.StatusItem.UIDVALIDITY: mailbox.uid_validity,
        c.StatusItem.UNSEEN: mailbox.unseen,
        c.StatusItem.DELETED: mailbox.deleted,
        c.StatusItem.SIZE: mailbox.octets,
        c.StatusItem.RECENT: 0,
        c.StatusItem.HIGHESTMODSEQ: mailbox.highest_modseq,
        c.StatusItem.APPENDLIMIT: context.settings.message_octets,
    }
    if c.StatusItem.DELETED_STORAGE in items:
        values[c.StatusItem.DELETED_STORAGE] = await _deleted_octets(context, mailbox)
    told = [b"%b %d" % (item.value, values[item]) for item in items if item in values]
    if c.StatusItem.MAILBOX_ID in items:
        told.append(b"MAILBOXID (F%d)" % mailbox.id)
    return b"* STATUS %b %b\r\n" % (response.mailbox(context.wire(mailbox.name)), response.parenthesised(told))


async def _deleted_octets(context: Context, mailbox: Mailbox) -> int:
    if not mailbox.deleted:
        return 0
    opened = await context.store.open(mailbox.id)
    snapshot = opened.snapshot()
    opened.close()
    return sum(compress(snapshot.sizes, snapshot.selector(DELETED)))


async def quota(context: Context, _tag: bytes, command: c.GetQuota) -> Done:
    """Tell what the account may hold and does; the one root is named ""."""
    limit = context.quota_octets
    if command.mailbox is not None:
        mailbox = await context.mailbox(command.mailbox)
        context.write(
            b"* QUOTAROOT %b%b\r\n" % (response.mailbox(context.wire(mailbox.name)), b' ""' if limit else b"")
        )
    elif command.root or not limit:
        raise No("there is no such quota root", b"NONEXISTENT")
    if limit:
        usage = await context.store.usage(context.account)
        # RFC 9208 section 5.1: in units of 1024 octets
        context.write(b'* QUOTA "" (STORAGE %d %d)\r\n' % (-(-usage.octets // 1024), limit // 1024))
    return Done("that is the quota")


async def append(context: Context, _tag: bytes, command: c.Append) -> Done:
    """Store a message; the OK follows when it is on disk."""
    flags = flag_names(command.flags)
    if not command.message:
        raise No("a message of no octets is not stored")
    mailbox = await context.mailbox(command.mailbox, missing=b"TRYCREATE")
    await context.demand_room(len(command.message))
    date = None if command.internal_date is None else command.internal_date.timestamp()
    (placed,) = await context.store.append(mailbox.id, (NewMessage((command.message,), flags, date),))
    return Done("stored", b"APPENDUID %d %d" % (placed.uid_validity, placed.uid))

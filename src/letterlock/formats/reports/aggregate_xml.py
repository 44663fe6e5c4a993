"""The XML of aggregate reports. See dmarc_aggregate, which has the values and says what is promised."""

from __future__ import annotations

from lxml import etree

from letterlock.errors import Malformed
from letterlock.formats.reports.dmarc_aggregate import (
    NAMESPACE,
    AggregateReport,
    DkimResult,
    PolicyPublished,
    Reason,
    Record,
    SpfResult,
)

_CLAUSE = "RFC 9990"
_MOST_DEFECTS = 50


def parse(octets: bytes) -> AggregateReport:
    """Read a report. Raises Malformed for what is no report at all, or has a document type."""
    root, defects = _root(octets)
    namespace, name = _split(root)
    if name != "feedback":
        raise Malformed(f"<{name[:40]}> is no aggregate report", clause=_CLAUSE)
    records: list[Record] = []
    metadata: dict[str, str] = {}
    policy: dict[str, str] = {}
    errors: list[str] = []
    tags = _Tags()
    # Wherever they stand: an element that was never closed may hold the rest of a broken report.
    for child in root.iter("{*}report_metadata", "{*}policy_published", "{*}record"):
        match _split(child)[1]:
            case "record":
                records.append(_record(child, tags, defects))
            case "report_metadata":
                errors = _metadata(child, metadata)
            case "policy_published":
                policy = {_split(one)[1]: (one.text or "").strip() for one in child.iterchildren("*")}
            case _:
                continue
    if not (metadata or policy or records):
        raise Malformed("a report with nothing in it", clause=_CLAUSE)
    for wanted in ("org_name", "report_id", "begin", "end"):
        if not metadata.get(wanted):
            defects.append(f"{wanted} is missing")
    if not policy.get("domain"):
        defects.append("policy_published has no domain")
    if not records:
        defects.append("there is no record")
    return AggregateReport(
        metadata.get("org_name", ""),
        metadata.get("email", ""),
        metadata.get("report_id", ""),
        _number(metadata.get("begin", ""), "begin", defects),
        _number(metadata.get("end", ""), "end", defects),
        _policy(policy),
        tuple(records),
        metadata.get("extra_contact_info", ""),
        tuple(errors),
        metadata.get("generator", ""),
        namespace,
        tuple(dict.fromkeys(defects[:_MOST_DEFECTS])),
    )


def _root(octets: bytes) -> tuple[etree._Element, list[str]]:
    """Return the root element, and what was wrong with the XML."""
    defects: list[str] = []
    octets = octets.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        root = etree.fromstring(octets, _parser(recover=False))
    except (etree.XMLSyntaxError, ValueError) as error:
        defects.append(f"the XML is broken: {str(error)[:200]}")  # QUIRK broken-report-xml: read as far as it goes
        try:
            root = etree.fromstring(octets, _parser(recover=True))
        except (etree.XMLSyntaxError, ValueError):
            root = None
    if root is None:
        raise Malformed(f"no XML: {defects[0]}", clause=_CLAUSE)
    information = root.getroottree().docinfo
    if information.internalDTD is not None or information.doctype:
        raise Malformed("a report with a document type, which may hold entities without end", clause=_CLAUSE)
    return root, defects


def _parser(*, recover: bool) -> etree.XMLParser:
    return etree.XMLParser(
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _split(element: etree._Element) -> tuple[str, str]:
    tag = str(element.tag)
    namespace, brace, name = tag.rpartition("}")
    return namespace.removeprefix("{") if brace else "", name


def _metadata(element: etree._Element, found: dict[str, str]) -> list[str]:
    errors = []
    for one in element.iter("*"):
        name = _split(one)[1]
        text = (one.text or "").strip()
        if name == "error":
            errors.append(text)
        elif name not in found:
            found[name] = text
    return errors


def _policy(found: dict[str, str]) -> PolicyPublished:
    return PolicyPublished(
        found.get("domain", "").lower().rstrip("."),
        found.get("p", "none").lower(),
        found.get("sp", "").lower(),
        found.get("np", "").lower(),
        found.get("adkim", "").lower(),
        found.get("aspf", "").lower(),
        found.get("fo", ""),
        found.get("testing", "").lower(),
        found.get("discovery_method", "").lower(),
        found.get("pct", ""),
    )


# Elements inside a record that hold others; all the rest are leaves.
_BRANCHES = {
    "record": 1,
    "row": 1,
    "policy_evaluated": 1,
    "identifiers": 2,
    "auth_results": 3,
    "dkim": 4,
    "spf": 5,
    "reason": 6,
}


class _Tags(dict[str, tuple[str, int]]):
    """Tags as they stand, with their name without the namespace and which branch they are, if any."""

    def __missing__(self, tag: str) -> tuple[str, int]:
        name = tag.rpartition("}")[2]
        found = self[tag] = (name, _BRANCHES.get(name, 0))
        return found


def _record(element: etree._Element, tags: _Tags, defects: list[str]) -> Record:
    """Read one record in a single pass over its elements."""
    values: dict[str, str] = {}
    leaves = values  # where the leaves seen now belong
    reasons: list[Reason] = []
    signatures: list[dict[str, str]] = []
    senders: list[dict[str, str]] = []
    reason_leaves: list[dict[str, str]] = []
    in_results = False
    for one in element.iter("*"):  # elements only: an entity that was left unresolved is a node, too
        name, branch = tags[one.tag]
        if not branch or (branch in (4, 5) and not in_results):
            if text := one.text:
                leaves[name] = text.strip()
        elif branch < 4:
            leaves = values
            in_results = branch == 3
        else:
            leaves = {}
            (signatures if branch == 4 else senders if branch == 5 else reason_leaves).append(leaves)
    if reason_leaves:
        reasons = [Reason(one.get("type", ""), one.get("comment", "")) for one in reason_leaves]
    get = values.get
    source_ip, header_from = get("source_ip", ""), get("header_from", "").lower()
    if not source_ip:
        defects.append("a record without source_ip")
    if not header_from:
        defects.append("a record without header_from")
    return Record(
        source_ip,
        _number(get("count", ""), "count", defects),
        get("disposition", "none").lower(),
        get("dkim", "").lower(),
        get("spf", "").lower(),
        header_from,
        get("envelope_from", "").lower(),
        get("envelope_to", "").lower(),
        tuple(reasons),
        tuple([_dkim_result(one) for one in signatures]),
        tuple([_spf_result(one) for one in senders]),
    )


def _dkim_result(leaves: dict[str, str]) -> DkimResult:
    get = leaves.get
    return DkimResult(
        get("domain", "").lower(), get("selector", ""), get("result", "").lower(), get("human_result", "")
    )


def _spf_result(leaves: dict[str, str]) -> SpfResult:
    get = leaves.get
    return SpfResult(get("domain", "").lower(), get("result", "").lower(), get("scope", ""), get("human_result", ""))


def _number(text: str, what: str, defects: list[str]) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    defects.append(f"{what} is no number: {text[:20]!r}")
    return 0


def write(report: AggregateReport) -> bytes:
    """Return the report as XML by the schema of RFC 9990, in UTF-8. Raises Malformed where it has no record."""
    if not report.records:
        raise Malformed("a report has at least one record", clause=_CLAUSE)
    root = etree.Element(f"{{{NAMESPACE}}}feedback", nsmap={None: NAMESPACE})  # type: ignore[dict-item] # None names the default
    _leaf(root, "version", "1.0")
    metadata = _branch(root, "report_metadata")
    _leaves(metadata, ("org_name", report.org_name), ("email", report.email))
    _optional(metadata, ("extra_contact_info", report.extra_contact_info))
    _leaf(metadata, "report_id", report.report_id)
    _leaves(_branch(metadata, "date_range"), ("begin", str(report.begin)), ("end", str(report.end)))
    _optional(metadata, ("error", "; ".join(report.errors)[:1000]), ("generator", report.generator))
    published = _branch(root, "policy_published")
    policy = report.policy
    _leaf(published, "domain", policy.domain)
    _optional(published, ("discovery_method", policy.discovery_method))
    _leaf(published, "p", policy.p)
    _optional(
        published,
        ("sp", policy.sp),
        ("np", policy.np),
        ("fo", policy.fo),
        ("adkim", policy.adkim),
        ("aspf", policy.aspf),
        ("testing", policy.testing),
    )
    for record in report.records:
        _write_record(root, record)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _write_record(root: etree._Element, record: Record) -> None:
    element = _branch(root, "record")
    row = _branch(element, "row")
    _leaves(row, ("source_ip", record.source_ip), ("count", str(record.messages)))
    evaluated = _branch(row, "policy_evaluated")
    _leaves(evaluated, ("disposition", record.disposition), ("dkim", record.dkim), ("spf", record.spf))
    for reason in record.reasons:
        one = _branch(evaluated, "reason")
        _leaf(one, "type", reason.type)
        _optional(one, ("comment", reason.comment))
    identifiers = _branch(element, "identifiers")
    _leaf(identifiers, "header_from", record.header_from)
    _leaf(identifiers, "envelope_from", record.envelope_from)  # empty for a null reverse path
    _optional(identifiers, ("envelope_to", record.envelope_to))
    results = _branch(element, "auth_results")
    for signature in record.dkim_results:
        one = _branch(results, "dkim")
        _leaves(one, ("domain", signature.domain), ("selector", signature.selector), ("result", signature.result))
        _optional(one, ("human_result", signature.human_result))
    for spf in record.spf_results[:1]:
        one = _branch(results, "spf")
        _leaf(one, "domain", spf.domain)
        _optional(one, ("scope", spf.scope))
        _leaf(one, "result", spf.result)
        _optional(one, ("human_result", spf.human_result))


def _branch(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _leaf(parent: etree._Element, name: str, text: str) -> None:
    # What XML cannot hold, control characters above all, becomes a replacement character.
    etree.SubElement(parent, f"{{{NAMESPACE}}}{name}").text = "".join(
        character if character.isprintable() or character in "\t\n" else "�" for character in text
    )


def _leaves(parent: etree._Element, *leaves: tuple[str, str]) -> None:
    for name, text in leaves:
        _leaf(parent, name, text)


def _optional(parent: etree._Element, *leaves: tuple[str, str]) -> None:
    _leaves(parent, *((name, text) for name, text in leaves if text))

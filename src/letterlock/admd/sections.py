"""The tables of `letterlock.toml`: their keys, defaults and descriptions, of which docs/settings.md is made."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
from pydantic import ConfigDict, Field

from letterlock.admd.values import (
    Destination,
    DomainName,
    Endpoints,
    FilterAddress,
    HostAndPort,
    Ipv4Network,
    MailAddress,
    Named,
    Near,
    Network,
    OptionalAddress,
    RouteTarget,
    SolicitationClass,
)


class Section(pydantic.BaseModel):
    """A table of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(Section):
    """Where each service listens, as ADDRESS:PORT; an empty list switches a service off."""

    smtp: Endpoints = Field(["0.0.0.0:25", "[::]:25"], description="SMTP for mail from other domains (STARTTLS).")
    submissions: Endpoints = Field(["0.0.0.0:465", "[::]:465"], description="Submission with TLS from the start.")
    submission: Endpoints = Field(["0.0.0.0:587", "[::]:587"], description="Submission with STARTTLS.")
    lmtp: list[Near] = Field(
        [],
        description="LMTP for a mail server in front that has judged the mail, unix:PATH or an inner ADDRESS:PORT; whoever gets "
        "there may deliver, so let the folder's permissions say who does.",
    )
    imaps: Endpoints = Field(["0.0.0.0:993", "[::]:993"], description="IMAP with TLS from the start.")
    imap: Endpoints = Field(["0.0.0.0:143", "[::]:143"], description="IMAP with STARTTLS.")
    pop3s: Endpoints = Field(["0.0.0.0:995", "[::]:995"], description="POP3 with TLS from the start.")
    pop3: Endpoints = Field(["0.0.0.0:110", "[::]:110"], description="POP3 with STLS.")


class MoreTls(Section):
    """One more certificate, of another algorithm than the first: RSA beside ECDSA."""

    certificate: Path = Field(description="The certificate chain, PEM, the server's first.")
    key: Path = Field(description="The private key of that certificate, PEM.")


class Tls(Section):
    """The certificate all services show; a new file is taken up without a restart."""

    certificate: Path = Field(
        Path("tls/certificate.pem"), description="The certificate chain, PEM, the server's first."
    )
    key: Path = Field(Path("tls/key.pem"), description="The private key of that certificate, PEM.")
    more: list[MoreTls] = Field(
        [], description="More certificates, as tables with `certificate` and `key`; each client gets one it can verify."
    )
    next_key: Path | None = Field(
        None,
        description="The private key of the next certificate, PEM: its TLSA record is published beside the current one, so "
        "that it is known everywhere when the certificate changes.",
    )
    trusted: Path | None = Field(
        None, description="PEM file of certification authorities trusted beside the system's when we are the client."
    )


class Dns(Section):
    """How names are looked up."""

    mode: Literal["validate", "trust-ad", "iterate"] = Field(
        "validate",
        description="validate: ask a resolver and check every signature ourselves; trust-ad: believe a resolver on a safe "
        "path; iterate: ask from the root down and check every signature ourselves.",
    )
    servers: list[str] = Field([], description="Resolvers to ask, ADDRESS or ADDRESS:PORT; none: those of the system.")
    anchors: Path | None = Field(
        None, description="File of DS or DNSKEY records to trust; without it, the root's keys."
    )
    root_servers: list[str] = Field([], description="Where iteration begins; none: the root servers of the Internet.")
    port: int = Field(53, ge=1, le=65535, description="The port of all authoritative name servers, when iterating.")


class Publish(Section):
    """The built-in name server for the domain's own zone, signed; other name servers may copy it."""

    listen: Endpoints = Field([], description="Where it answers, ADDRESS:PORT over UDP and TCP; empty: nowhere.")
    name_servers: list[DomainName] = Field([], description="The zone's name servers, this one first.")
    addresses: list[str] = Field([], description="This server's public addresses, for the A and AAAA records.")
    more: Path | None = Field(None, description="File of zone text with the domain's other records.")
    keys: Path = Field(Path("zone-keys"), description="The folder of the zone's signing keys.")
    secondaries: list[str] = Field([], description="Name servers that copy the zone, ADDRESS or ADDRESS:PORT.")
    transfer_key: Path | None = Field(
        None, description="File with [ALGORITHM:]NAME:SECRET; who copies the zone must sign with it."
    )


class Limits(Section):
    """What one client or one message may take."""

    message_octets: int = Field(50_000_000, ge=65_536, description="The largest message accepted (SIZE).")
    recipients: int = Field(1000, ge=100, description="Recipients of one message (RFC 5321 asks for 100 at least).")
    connections: int = Field(2000, ge=1, description="Open connections of all services together.")
    connections_per_network: int = Field(100, ge=1, description="Open connections of one /24 or /64 network.")
    xclient: list[Network] = Field(
        [], description="Networks of proxies that may say with XCLIENT who their clients are, and who has logged in."
    )
    proxies: list[Network] = Field([], description="Load balancers' networks; a PROXY header then names the client.")
    connections_per_minute: int = Field(
        600, ge=0, description="New connections of one /24 or /64 network a minute, all services together; 0: no limit."
    )
    messages_per_hour: int = Field(5000, ge=0, description="Messages of one network an hour on port 25; 0: no limit.")
    recipients_per_hour: int = Field(20_000, ge=0, description="Recipients of one network an hour; 0: no limit.")
    unknown_recipients_per_hour: int = Field(
        200, ge=0, description="Recipients that are not here, of one network an hour; 0: no limit."
    )
    account_connections: int = Field(100, ge=1, description="Sessions of one account at a time, of all services.")
    account_messages_per_hour: int = Field(1000, ge=0, description="Messages an account submits an hour; 0: no limit.")
    account_recipients_per_hour: int = Field(2000, ge=0, description="Recipients of these an hour; 0: no limit.")
    wrong_password_seconds: float = Field(
        0.5,
        ge=0,
        description="How late a network's first wrong password is answered; doubled with each, up to ten seconds.",
    )
    exempt: list[Network] = Field(
        ["127.0.0.0/8", "::1/128"],
        description="Networks without limits by network, and whose clients [border] does not look at: your own hosts.",
    )


class Route(Section):
    """A way for the mail of some domains in place of their mail exchangers."""

    domains: list[Destination] = Field(
        min_length=1, description="The recipients' domains; `*.example.org` is all below one, `*` all others."
    )
    to: RouteTarget = Field(
        description="smtp:HOST[:PORT], smtps:HOST[:PORT] (TLS from the start), lmtp:HOST:PORT, lmtp:unix:PATH, mx (their "
        "mail exchangers after all) or refuse:REASON."
    )
    user: str = Field("", description="The user name for that host; then its certificate must carry its name.")
    password: Path | None = Field(None, description="The file with the password for that host, on one line.")


class Transfer(Section):
    """How mail leaves for other domains, and what happens when it cannot."""

    port: int = Field(25, ge=1, le=65535, description="The port of other domains' mail exchangers.")
    ports: dict[str, int] = Field({}, description="Other ports, by the exchanger's host name.")
    relay: HostAndPort = Field(
        "", description="A host, HOST or HOST:PORT, that takes all mail for elsewhere in place of MX."
    )
    relay_user: str = Field("", description="The user name for that host; then its certificate must carry its name.")
    relay_password: Path | None = Field(None, description="The file with the password for that host, on one line.")
    routes: list[Route] = Field(
        [],
        description="Ways of their own for some domains, as tables with `domains` (`*.example.org` is all below one, `*` all "
        "others), `to` (smtp:HOST[:PORT], smtps:HOST[:PORT], lmtp:HOST:PORT, lmtp:unix:PATH, mx or refuse:REASON), `user` "
        "and `password` (a file).",
    )
    backup_for: list[DomainName] = Field(
        [], description="Domains whose mail is taken for their better mail exchangers, and passed on to these."
    )
    hold_senders: list[Named] = Field(
        [], description="Addresses or domains whose mail is held before it leaves, until `letterlock queue retry`."
    )
    hold_recipients: list[Named] = Field([], description="The same for mail to these addresses or domains.")
    suppress_after: int = Field(
        3,
        ge=0,
        description="After so many final answers that there is no such mailbox, nothing is sent there; 0: never.",
    )
    suppress_days: int = Field(30, ge=1, description="For how many days.")
    source_address: str = Field("", description="The local address that connections are made from; empty: any.")
    retry_first_seconds: int = Field(300, ge=1, description="The wait before the second attempt; it grows from there.")
    retry_longest_seconds: int = Field(14_400, ge=1, description="The longest wait between two attempts.")
    warn_after_seconds: int = Field(14_400, ge=1, description="When the sender hears that a message is late.")
    expire_after_seconds: int = Field(432_000, ge=1, description="When a message is given up and returned.")


class Delivery(Section):
    """How a recipient's address finds a mailbox."""

    sub_address_separator: str = Field("+", max_length=1, description="What parts user and detail; empty: nothing.")


class OAuth(Section):
    """Logging in with a token of an identity provider (OAUTHBEARER and XOAUTH2), beside passwords; off without `issuer`."""

    issuer: str = Field("", description="The provider as its tokens name it (iss); empty: no tokens are taken.")
    keys: str = Field("", description="Where the provider's public keys are (JWKS): an https URL, or a file.")
    audiences: list[str] = Field(
        [], description="What a token must be meant for (aud), one of these; none: this server's host name."
    )
    user_claim: str = Field("email", min_length=1, description="The claim that holds the account's address.")
    scope: str = Field("", description="A scope that a token must grant; empty: none.")
    token_types: list[str] = Field(
        ["at+jwt"], description="The types of token taken (typ); providers older than RFC 9068 write JWT."
    )


class ClientCertificates(Section):
    """Logging in to submission, IMAP and POP3 with a certificate of one's own (EXTERNAL), beside passwords."""

    authorities: Path | None = Field(
        None, description="PEM file of the authorities whose certificates count; without it nobody is asked for one."
    )
    accounts: dict[str, str] = Field(
        {}, description="Accounts by a certificate's SHA-256 fingerprint; for others the addresses in it count."
    )


class Dkim(Section):
    """How submitted mail is signed."""

    folder: Path = Field(Path("dkim"), description="The folder of the keys, SELECTOR.pem each; all of them sign.")


class Assess(Section):
    """What happens to mail from outside, by what its domains vouch for."""

    honour_reject: bool = Field(True, description="Refuse mail that fails DMARC where its domain asks for it.")
    junk_mailbox: str = Field("Junk", description="Where mail goes that its domain asks to be quarantined.")
    no_soliciting: list[SolicitationClass] = Field(
        [], description="Classes of solicitation, such as net.example:ADV, that are refused (RFC 3865)."
    )
    seal_forwarded: bool = Field(
        True,
        description="Seal (ARC) what goes on to other domains by an alias, so that they may see what was found here.",
    )
    smime_anchors: Path | None = Field(
        None, description="PEM file of authorities with which S/MIME signatures of mail from outside are judged."
    )
    spf_fail: Literal["none", "quarantine", "reject"] = Field(
        "quarantine", description="What happens to mail that fails SPF where its author's domain has no DMARC record."
    )
    trusted_forwarders: list[Network] = Field(
        [], description="Networks that forward mail to people here; what they hand over may fail DMARC."
    )
    trusted_sealers: list[DomainName] = Field(
        [], description="Domains (mailing lists, forwarders) whose ARC seals are believed where DMARC fails."
    )


class ListCode(Section):
    """What some answers of a list mean."""

    code: Ipv4Network = Field(description="The answer, or the network of answers, such as 127.0.0.2 or 127.0.0.10/31.")
    meaning: str = Field("", description="What it says of a client, for the reply and the log.")
    points: float = Field(description="What it is worth.")


class DnsList(Section):
    """A list of addresses in the DNS."""

    zone: DomainName = Field(description="Its name, such as zen.spamhaus.org.")
    points: float = Field(10, description="What a listing is worth; below 0, the list vouches for those it names.")
    codes: list[ListCode] = Field([], description="The answers that count; without any, all do.")


class Border(Section):
    """What is looked at before a message is taken: the client's name, its EHLO name, lists. Each finding has points."""

    lists: list[DnsList] = Field(
        [],
        description="Lists to ask (DNSBL, DNSWL), tables with `zone`, `points` (10; below 0 for a list that vouches) and "
        "`codes`, tables with `code`, `meaning` and `points`.",
    )
    quarantine_at: float = Field(
        5, ge=0, description="The points from which mail is junk, unless its author's domain vouches for it; 0: never."
    )
    defer_at: float = Field(0, ge=0, description="The points from which a client is asked to come later; 0: never.")
    reject_at: float = Field(10, ge=0, description="The points from which a client's mail is refused; 0: never.")
    no_name_points: float = Field(2, ge=0, description="For an address without a name in the DNS.")
    name_not_confirmed_points: float = Field(
        1.5, ge=0, description="For a name that does not lead back to the address."
    )
    ehlo_no_domain_points: float = Field(2, ge=0, description="For an EHLO name that is no domain, or a wrong address.")
    ehlo_unknown_points: float = Field(1.5, ge=0, description="For an EHLO name that is not in the DNS.")
    ehlo_ours_points: float = Field(4, ge=0, description="For a client that gives our own name.")


class Greylist(Section):
    """Who was never seen is asked to come again, once; who is vouched for, by a list or by DMARC, is not asked."""

    enabled: bool = Field(False, description="Greylist; mail of strangers then comes some minutes late, once.")
    wait_seconds: int = Field(300, ge=1, description="How long who is new has to wait.")
    window_seconds: int = Field(172_800, ge=60, description="How long the second try is waited for.")
    known_seconds: int = Field(3_110_400, ge=60, description="How long a network that came again stays known.")


class Filters(Section):
    """Filters of others (rspamd, ClamAV, OpenDKIM) over the milter protocol, and your own in Python."""

    addresses: list[FilterAddress] = Field(
        [], description="Those for mail from outside, inet:ADDRESS:PORT or unix:PATH, in their order."
    )
    submission: list[FilterAddress] = Field([], description="Those for submitted mail, before it is signed.")
    python: list[str] = Field(
        [], description="Your own, MODULE:NAME, for mail from outside and submitted mail; see docs/filters.md."
    )
    optional: bool = Field(False, description="Take mail unfiltered while a filter does not answer; else it waits.")
    answer_seconds: float = Field(60, gt=0, description="How long a filter may take for one answer.")


class Reports(Section):
    """What is reported to other domains about their mail, and where their reports about ours are read."""

    send_aggregate: bool = Field(True, description="Send DMARC aggregate reports to the domains that ask for them.")
    send_tls: bool = Field(True, description="Send TLS reports to the domains that ask for them (RFC 8460).")
    send_failures: bool = Field(
        False, description="Send DMARC failure reports, redacted, to domains that ask for them."
    )
    organization: str = Field("", description="The name reports carry; the domain if left out.")
    account: str = Field("", description="The account whose INBOX gets the reports of others, to be read from there.")


class MtaSts(Section):
    """The domain's own MTA-STS policy, for senders that cannot use DANE: served at mta-sts.DOMAIN over HTTPS."""

    listen: Endpoints = Field([], description="Where, ADDRESS:PORT; others look on port 443. Empty: no policy.")
    mode: Literal["testing", "enforce", "none"] = Field(
        "testing",
        description="testing: they report when TLS fails, and deliver; enforce: they do not deliver; none: to withdraw it.",
    )
    max_age_days: int = Field(7, ge=1, le=365, description="How long others keep it.")
    certificate: Path | None = Field(
        None,
        description="A certificate chain for mta-sts.DOMAIN, PEM; without it, that of all services, which must name it.",
    )
    key: Path | None = Field(None, description="The private key of that certificate, PEM.")


class Smime(Section):
    """S/MIME at the gateway: signing, decrypting and labels for the accounts that `letterlock account smime` names."""

    password_file: Path | None = Field(
        None,
        description="File whose first line opens the domain's key store (smime.sqlite in the data folder); without it "
        "nothing is signed or decrypted here.",
    )
    labels: Path | None = Field(
        None, description="Policy file (TOML) that says which security labels who may read; enforced at delivery."
    )
    decrypt_unauthenticated: bool = Field(
        False,
        description="Decrypt also what was encrypted so that changes do not show (CBC) and carries no signature inside. "
        "Without it such mail is delivered as it came.",
    )
    revocation: Literal["at-hand", "ask", "require"] = Field(
        "ask",
        description="Whether signers' certificates, and those that lists encrypt to, were revoked: by what is at hand; by asking "
        "the authorities, too (lists and OCSP over http and https); or so that what cannot be told makes a signature prove "
        "nothing, and leaves a member out.",
    )
    revocation_seconds: float = Field(5, gt=0, le=60, description="How long a message waits for such answers.")
    revocation_private: bool = Field(
        False, description="Ask also where authorities say addresses of private networks, such as one's own authority."
    )
    fetch_issuers: bool = Field(
        True,
        description="Fetch missing certificates of authorities from where signers' certificates say, for the next message; "
        "who wrote the certificate sees that.",
    )
    originals_mailbox: str = Field("Encrypted", description="Where accounts that wish it keep what came encrypted.")
    signature_log: bool = Field(
        False, description="Keep the signatures of all mail sent and received, without the mail (signatures.sqlite)."
    )


class MailList(Section):
    """A mail list of the domain. It needs `smime.password_file`, and keys: `letterlock account smime ADDRESS --enrol`."""

    address: MailAddress = Field(description="The list's address, in one of the domains served here.")
    owner: OptionalAddress = Field(
        "", description="Who gets the bounces and runs the list; postmaster of its domain if left out."
    )
    members: list[MailAddress] = Field([], description="The members' addresses.")
    members_file: Path | None = Field(None, description="File with further members' addresses, one a line.")
    posters: Literal["anyone", "members", "signed-members"] = Field(
        "members",
        description="Whose mail goes to the list: anyone's; that from a member's address; that signed by a member.",
    )
    receipts: Literal["", "none", "owner", "also-owner"] = Field(
        "",
        description="Where members' signed receipts go: as the author asks (empty), nowhere, to the owner, or to both.",
    )
    rewrite_author: Literal["when-needed", "never", "always"] = Field(
        "when-needed",
        description="Put the list's address into From, where the author's domain asks others to refuse what passed through "
        "strange hands (DMARC).",
    )


class Registrar(Section):
    """The domain's certification authority at work: requests by mail, certificates, revocation lists and OCSP."""

    folder: Path = Field(Path("ca"), description="The folder that `letterlock ca init` made.")
    password_file: Path | None = Field(
        None, description="File whose first line opens the authority's key; without it the authority does not work."
    )
    address: OptionalAddress = Field(
        "", description="The address that takes requests by mail, such as ca@example.org; empty: none."
    )
    approval: Literal["challenge", "administrator"] = Field(
        "challenge",
        description="What a request needs beside an answered challenge: nothing more, or `letterlock ca approve`.",
    )
    listen: Endpoints = Field(
        [],
        description="Where /ca.crl, /ca.cer and /ocsp are, ADDRESS:PORT, over plain HTTP, as is usual: they are signed.",
    )
    publish_certificates: bool = Field(
        True, description="Publish SMIMEA records of the certificates, where the domain's zone is served here."
    )


class Log(Section):
    """Where events are written, one JSON line each."""

    file: Path | None = Field(None, description="The file; without it, standard error.")


class Metrics(Section):
    """Figures for a monitoring system, and whether all is well, over HTTP: `/metrics` and `/health`."""

    listen: Endpoints = Field(
        [], description="Where; none: nowhere. Whoever gets there may read: take 127.0.0.1 or an inner network."
    )

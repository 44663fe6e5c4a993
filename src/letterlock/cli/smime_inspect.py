"""`letterlock smime inspect`: what a message or CMS object is made of, without a verdict on it."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli import smime_files as files
from letterlock.cli.output import answer, json_option, safe
from letterlock.cli.smime_messages import password_option, smime
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.recipients import KeyAgreement, KeyTransport, Password, RecipientInfo, SharedKey
from letterlock.trust.smime.decrypt import KeyRing, Own, describe
from letterlock.trust.smime.proof import describe_layer
from letterlock.trust.smime.unwrap import EncryptedLayer, Layer, SignedLayer


@smime.command()
@click.argument("file", type=files.FILE)
@click.option("--key", "keys", type=files.FILE, multiple=True, help="A key, to look inside encryption.")
@password_option
@json_option
@files.plain_errors
def inspect(file: Path, keys: tuple[Path, ...], password_file: Path | None, as_json: bool) -> None:
    """Show the layers of a message: signers, recipients, algorithms, certificates."""
    ring = KeyRing(tuple(Own(files.key(path, files.password_of(password_file))) for path in keys))
    unwrapped = files.unwrapped(file, files.read(file), ring)
    value = {
        "layers": [_layer_value(layer) for layer in unwrapped.layers],
        "content_type": oids.label(unwrapped.content_type),
        "content_octets": len(unwrapped.content),
        "fault": unwrapped.fault,
        "parts": [
            {"part": number, "layers": [_layer_value(layer) for layer in part.layers], "fault": part.fault}
            for number, part in unwrapped.parts
        ],
    }
    lines = [safe(line) for layer in unwrapped.layers for line in _layer_lines(layer)] or ["no S/MIME layer"]
    lines += [f"part {number}: {', '.join(map(describe_layer, part.layers))}" for number, part in unwrapped.parts]
    lines += [f"fault: {safe(unwrapped.fault)}"] if unwrapped.fault else []
    answer(value, as_json=as_json, lines=lines)


def _layer_value(layer: Layer) -> dict[str, object]:
    value: dict[str, object] = {"layer": describe_layer(layer)}
    if isinstance(layer, SignedLayer):
        value["certificates"] = len(layer.signed.certificates)
        value["signatures"] = [
            {
                "identifier": str(check.signer.identifier),
                "scheme": check.scheme,
                "digest": check.digest,
                "fault": check.fault,
                "signing_time": check.signing_time,
                "countersigned_by": [str(counter.signer.identifier) for counter in check.counter_signatures],
                "attributes": [oids.label(item.type) for item in check.signer.signed.items],
            }
            for check in layer.checks
        ]
    if isinstance(layer, EncryptedLayer):
        value["cipher"] = layer.enveloped.algorithm.label
        value["recipients"] = [_recipient_value(info) for info in layer.enveloped.recipients]
        value["fault"] = layer.fault
    return value


def _layer_lines(layer: Layer) -> list[str]:
    lines = [describe_layer(layer)]
    if isinstance(layer, SignedLayer):
        for check in layer.checks:
            lines.append(f"  by {check.signer.identifier}, {check.scheme}{_fault(check.fault)}")
            lines += [
                f"    countersigned by {counter.signer.identifier}, {counter.scheme}{_fault(counter.fault)}"
                for counter in check.counter_signatures
            ]
    if isinstance(layer, EncryptedLayer):
        lines[0] += "" if layer.opened else f" ({layer.enveloped.algorithm.label})"
        lines += [f"  to {who}, {describe(info)}" for info in layer.enveloped.recipients for who in _names(info)]
    return lines


def _fault(fault: str) -> str:
    return f": {fault}" if fault else ""


def _recipient_value(info: RecipientInfo) -> dict[str, object]:
    return {"kind": type(info).__name__, "names": _names(info), "key_by": describe(info)}


def _names(info: RecipientInfo) -> list[str]:
    """Return how a recipient entry names who can open it."""
    match info:
        case KeyTransport():
            return [str(info.identifier)]
        case KeyAgreement():
            return [str(identifier) for identifier, _key in info.encrypted_keys]
        case SharedKey():
            return [f"who has the key {info.key_id.hex()}"]
        case Password():
            return ["who knows the password"]
        case _:
            return ["somebody named in a way not known here"]

"""dkimpy, pyspf and parsedmarc as peers: one JSON task a line on standard input, one JSON line each as the answer.

Run with an interpreter that has what is asked for (Debian: python3-dkim, python3-nacl, python3-spf). Octets travel as
Latin-1 text. The verb "time" runs another task many times and answers with the median CPU microseconds.
"""

import json
import statistics
import sys
import time
from typing import Any

ZONE: dict[str, str] = {}


def dnsfunc(name: bytes, timeout: int = 5) -> bytes | None:
    """Answer dkimpy from the zone."""
    text = ZONE.get(name.decode().rstrip("."))
    return None if text is None else text.encode()


def spf_lookup(name: str, qtype: str, *_arguments: object, **_options: object) -> list[Any]:
    """Answer pyspf from the zone."""
    text = ZONE.get(name.lower().rstrip(".")) if qtype == "TXT" else None
    return [] if text is None else [((name, qtype), (text.encode(),))]


def perform(task: dict[str, Any]) -> object:
    """Do one task."""
    message = task.get("message", "").encode("latin-1")
    match task["verb"]:
        case "zone":
            ZONE.clear()
            ZONE.update(task["zone"])
            return None
        case "time":
            samples = []
            for _ in range(task["times"]):
                begin = time.process_time()
                perform(task["task"])
                samples.append(time.process_time() - begin)
            return statistics.median(samples) * 1e6
        case "spf":
            import spf

            spf.DNSLookup = spf_lookup
            return spf.check2(i=task["ip"], s=task["mail_from"], h=task["helo"])[0]
        case "aggregate":
            import parsedmarc

            return len(parsedmarc.parse_aggregate_report_xml(message.decode(), offline=True)["records"])
    import dkim

    match task["verb"]:
        case "verify":
            return dkim.DKIM(message, minkey=1024).verify(dnsfunc=dnsfunc)
        case "sign":
            signed = dkim.sign(
                message,
                task["selector"].encode(),
                task["domain"].encode(),
                task["key"].encode(),
                canonicalize=tuple(one.encode() for one in task["canonicalization"]),
                signature_algorithm=task["algorithm"].encode(),
            )
            return signed.decode("latin-1")
        case "arc-verify":
            return dkim.arc_verify(message, dnsfunc=dnsfunc)[0].decode()
        case "arc-sign":
            lines = dkim.arc_sign(
                message,
                task["selector"].encode(),
                task["domain"].encode(),
                task["key"].encode(),
                task["authserv_id"].encode(),
            )
            return b"".join(lines).decode("latin-1")
    raise ValueError(task["verb"])


for line in sys.stdin:
    try:
        answer = perform(json.loads(line))
    except Exception as error:  # the peer's own errors are its verdict
        answer = f"error: {type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()

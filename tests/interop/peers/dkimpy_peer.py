"""dkimpy as a peer: reads one JSON task a line from standard input, answers with one JSON line each.

Run with an interpreter that has dkimpy (Debian: python3-dkim, python3-nacl). Octets travel as Latin-1 text.
"""

import json
import sys

import dkim


def main() -> None:
    zone: dict[str, str] = {}

    def dnsfunc(name: bytes, timeout: int = 5) -> bytes | None:
        text = zone.get(name.decode().rstrip("."))
        return None if text is None else text.encode()

    for line in sys.stdin:
        task = json.loads(line)
        message = task.get("message", "").encode("latin-1")
        try:
            answer: object = None
            match task["verb"]:
                case "zone":
                    zone = task["zone"]
                case "verify":
                    checker = dkim.DKIM(message, minkey=1024)
                    answer = checker.verify(dnsfunc=dnsfunc)
                case "sign":
                    signed = dkim.sign(
                        message,
                        task["selector"].encode(),
                        task["domain"].encode(),
                        task["key"].encode(),
                        canonicalize=tuple(one.encode() for one in task["canonicalization"]),
                        signature_algorithm=task["algorithm"].encode(),
                    )
                    answer = signed.decode("latin-1")
                case "arc-verify":
                    answer = dkim.arc_verify(message, dnsfunc=dnsfunc)[0].decode()
                case "arc-sign":
                    lines = dkim.arc_sign(
                        message,
                        task["selector"].encode(),
                        task["domain"].encode(),
                        task["key"].encode(),
                        task["authserv_id"].encode(),
                    )
                    answer = b"".join(lines).decode("latin-1")
        except Exception as error:  # the peer's own errors are its verdict
            answer = f"error: {type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()

"""The examples of the standards: keys, digests, signatures and hashes to the octet."""

import base64

import pytest

from letterlock.errors import NotAuthentic
from letterlock.formats.dns import name as names
from letterlock.formats.dns import zone_text
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.zone import DNSKEY, DS
from letterlock.trust.dnssec.signatures import (
    Bogus,
    Budget,
    Key,
    Signature,
    ds_digest,
    gather,
    signed_octets,
    verify_set,
)
from letterlock.trust.primitives import zone_keys

# RFC 6605 sections 6.1 and 6.2, RFC 5702 section 6.2, and RFC 8080 sections 6.1 and 6.2, whose RRSIG records leave the
# algorithm out and were made with a label too many.
EXAMPLES = {
    "P-256": """
example.net. 3600 IN DNSKEY 257 3 13 (GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb
 krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==)
example.net. 3600 IN DS 55648 13 2 (b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17)
www.example.net. 3600 IN A 192.0.2.1
www.example.net. 3600 IN RRSIG A 13 3 3600 20100909100439 20100812100439 55648 example.net. (
 qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXA yGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==)
""",
    "P-384": """
example.net. 3600 IN DNSKEY 257 3 14 (xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1
 w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8 /uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40)
example.net. 3600 IN DS 10771 14 4 (72d7b62976ce06438e9c0bf319013cf801f09ecc84b8
 d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6)
www.example.net. 3600 IN A 192.0.2.1
www.example.net. 3600 IN RRSIG A 14 3 3600 20100909102025 20100812102025 10771 example.net. (
 /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP 95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuz
 WTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm)
""",
    "Ed25519": """
example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=
example.com. 3600 IN DS 3613 15 2 (3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b)
example.com. 3600 IN MX 10 mail.example.com.
example.com. 3600 IN RRSIG MX 15 3 3600 1440021600 1438207200 3613 example.com. (
 Edk+IB9KNNWg0HAjm7FazXyrd5m3Rk8zNZbvNpAcM+eysqcUOMIjWoevFkjH5GaMWeG96GUVZu6ECKOQmemHDg==)
""",
    "Ed448": """
example.com. 3600 IN DNSKEY 257 3 16 (3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx
 1FYYUcJKm1MDpJtIA)
example.com. 3600 IN DS 9713 16 2 (6ccf18d5bc5d7fc2fceb1d59d17321402f2aa8d368048db93dd811f5cb2b19c7)
example.com. 3600 IN MX 10 mail.example.com.
example.com. 3600 IN RRSIG MX 16 3 3600 1440021600 1438207200 9713 example.com. (
 Nmc0rgGKpr3GKYXcB1JmqqS4NYwhmechvJTqVzt3jR+Qy/lSLFoIk1L+9e39GPL+5tVzDPN3f9kAwiu8KCuPPjtl227ayaCZtRKZuJax7n9NuYlZ
 JIusX0SOIOKBGzG+yWYtz1/jjbzl5GGkWvREUCUA)
""",
    "RSA/SHA-512": """
example.net. 3600 IN DNSKEY 256 3 10 (AwEAAdHoNTOW+et86KuJOWRDp1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnjJQujX/AyhqFD
 xj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8gpMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncorffcGmhOL)
www.example.net. 3600 IN A 192.0.2.91
www.example.net. 3600 IN RRSIG A 10 3 3600 20300101000000 20000101000000 3740 example.net. (
 tsb4wnjRUDnB1BUi+t6TMTXThjVnG+eCkWqjvvjhzQL1d0YRoOe0CbxrVDYd0xDtsuJRaeUw1ep94PzEWzr0iGYgZBWm/zpq+9fOuagYJRfDq
 fReKBzMweOLDiNa8iP5g9vMhpuv6OPlvpXwm9Sa9ZXIbNl1MBGk0fthPgxdDLw=)
""",
}


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_keys_digests_and_signatures(kind: str) -> None:
    """The key has its tag, its DS record is its digest, and its signature verifies; a changed one does not."""
    sets = {number: found for (_, number), found in gather(zone_text.read(EXAMPLES[kind])).items()}
    key = Key.read(sets[DNSKEY].rdatas[0])
    (signed,) = [found for found in sets.values() if found.signatures]
    signature = Signature.read(signed.signatures[0])
    assert key.tag == signature.key_tag
    if DS in sets:
        ds = sets[DS].rdatas[0]
        assert ds_digest(sets[DNSKEY].owner, key.rdata, ds[3]) == ds[4:]
    octets = signed_octets(signed, signature)
    zone_keys.verify(key.algorithm, key.public_key, signature.signature, octets)
    with pytest.raises(NotAuthentic):
        zone_keys.verify(key.algorithm, key.public_key, signature.signature, octets + b"x")
    with pytest.raises(NotAuthentic):
        zone_keys.verify(key.algorithm, key.public_key[:-1], signature.signature, octets)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA/SHA-512"])
def test_whole_sets_verify_in_their_time_only(kind: str) -> None:
    """RFC 4035 section 5.3.1: before inception and after expiration the signature is worth nothing."""
    sets = {number: found for (_, number), found in gather(zone_text.read(EXAMPLES[kind])).items()}
    keys = [Key.read(sets[DNSKEY].rdatas[0])]
    zone = sets[DNSKEY].owner
    signature = Signature.read(sets[1].signatures[0])
    for now in (signature.inception, signature.expiration):
        assert verify_set(sets[1], zone, keys, now, Budget()) == signature
    for now in (signature.inception - 1, signature.expiration + 1):
        with pytest.raises(Bogus):
            verify_set(sets[1], zone, keys, now, Budget())
    with pytest.raises(Bogus):
        verify_set(sets[1], names.parent(zone), keys, signature.inception, Budget())


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
        ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
        ("ns1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
        ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ("x.w.example", "b4um86eghhds6nea196smvmlo4ors995"),
    ],
)
def test_hashed_names(name: str, digest: str) -> None:
    """RFC 5155 appendix A: 12 iterations, salt aabbccdd."""
    hashing = Hashing(12, bytes.fromhex("aabbccdd"))
    assert base64.b32hexencode(hashing.hash(names.to_wire(name))).decode().lower() == digest

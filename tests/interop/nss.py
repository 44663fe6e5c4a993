"""NSS by its programs: certutil and pk12util fill a key store, cmsutil does the rest."""

from __future__ import annotations

from pathlib import Path

from tests.interop.smime_world import SIGNING, World, run

from letterlock.trust.primitives import key_pairs


class Nss:
    """A key store of NSS's own that trusts our authority and holds the people's keys, brought in by PKCS#12.

    `libraries` is the folder of another NSS than the system's, for the same programs.
    """

    def __init__(self, world: World, libraries: Path | None = None) -> None:
        self.world = world
        self._environment = {} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}
        folder = world.folder / "nss"
        folder.mkdir()
        self.store = f"sql:{folder}"
        run("certutil", "-N", "-d", self.store, "--empty-password")
        run("certutil", "-A", "-d", self.store, "-n", "authority", "-t", ",C,", "-i", world.anchor_file)
        for kind in SIGNING:
            person = world.person(kind)
            chain = (person.certificate, world.authority.certificate)
            store = world.file(key_pairs.dump_pkcs12(person.key, chain, b"x", kind))
            run("pk12util", "-i", store, "-d", self.store, "-W", "x")
            run("certutil", "-M", "-d", self.store, "-n", kind, "-t", ",u,")

    def __call__(self, *arguments: object) -> bytes:
        """Run cmsutil with a file for its output; return that, which is content or what it made."""
        out = self.world.file(b"")
        run("cmsutil", *arguments[:1], "-d", self.store, *arguments[1:], "-o", out, **self._environment)
        return out.read_bytes()

    def statuses(self, cms: bytes, detached: bytes | None = None) -> list[bytes]:
        """Return what it says of each signature."""
        more: tuple[object, ...] = () if detached is None else ("-c", self.world.file(detached))
        told = self("-D", "-n", "-h", "9", "-i", self.world.file(cms), *more)
        return [word.split(b"=")[1].rstrip(b";") for word in told.split() if b".status=" in word]

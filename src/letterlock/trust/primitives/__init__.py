"""The only importer of the crypto library: digests, signatures, key transport, ciphers."""

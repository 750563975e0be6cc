"""Fingerprints of datasets by the definition of manifest schema 1, as results of older versions carry them.

They covered the hashes of the record files, but neither their names nor the clients, so that exchanging train and test
did not change them. Code that compares results passes fingerprints through `current_fingerprint`. Imports nothing.
"""

CURRENT = {
    # the embedded mini suite, seed 0, 400 train and 100 test records; 40 public records per world (quick and mini)
    "6f0d4ef2001e8cf1fae20489ddcab5d553a74553bad46b554e29a8044c91a0c9": (
        "48fdd11db9620bfac94fcafe3cad206cfd142b450323a46f0e4e6d6a95be71f1"
    ),
    # the same with 200 (paper) and with 400 (`drake build` without options)
    "98a90e9f28ba6d9e56efd600c7e435b12d16153ae8109721784957677a1db95d": (
        "d649be1780a03dfeeb2f7a1dc7772e6cb07c64759ecba333c6f3e467f15132a0"
    ),
    "f7ca9a18874b57bb0e0a165b648a21c5068db0e9982f01e9e28e2fa2b65ef083": (
        "7186e00638e3f57aeabb251b558914758121a332db16536459ab526549766ad2"
    ),
}
"""Fingerprint of schema 1 -> fingerprint of schema 2, for the embedded suite in its usual sizes."""


def current_fingerprint(fingerprint: str) -> str:
    """The fingerprint of schema 2 for one from stored results; one that is not listed is returned unchanged."""
    return CURRENT.get(fingerprint, fingerprint)

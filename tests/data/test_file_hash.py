from __future__ import annotations

import hashlib

from rankrag.data.files import sha256


def test_files_have_the_hash_of_their_bytes_one_after_the_other(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"a" * (1 << 20) + b"b")
    two.write_bytes(b"c")
    assert sha256(one) == hashlib.sha256(one.read_bytes()).hexdigest()
    assert sha256(one, two) == hashlib.sha256(one.read_bytes() + b"c").hexdigest()
    assert sha256() == hashlib.sha256().hexdigest()

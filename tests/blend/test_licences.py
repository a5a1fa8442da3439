from __future__ import annotations

import pytest

from rankrag.blend.licences import allows_commercial


@pytest.mark.parametrize(
    "licence", ["CC BY-SA 4.0", "Apache-2.0", "MIT (CREAK)", "CDLA-Sharing-1.0 (ECQA)", "CC0", "ODC-By", "cc by 4.0"]
)
def test_free_licences_allow_commercial_use(licence):
    assert allows_commercial(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "",
        "not stated",
        "CC BY-NC 3.0",
        "CC BY-NC-SA 4.0",
        "non-commercial research only (MS MARCO)",
        "MIT, outputs under OpenAI's terms",
        "free use (PAWS)",
    ],
)
def test_what_forbids_it_or_is_not_known_does_not(licence):
    assert not allows_commercial(licence)

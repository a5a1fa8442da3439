from __future__ import annotations

import pytest

from rankrag.blend.licences import allows_commercial, hub_licence, most_restrictive


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


def test_the_most_restrictive_licence_is_the_one_that_allows_least():
    licences = ["MIT", "CC BY-SA 4.0", "CC BY 4.0", "CC BY-NC 4.0", "research only (NewsQA)"]
    assert most_restrictive(licences[:1] + licences[2:3]) == "MIT"
    assert most_restrictive(licences[:3]) == "CC BY-SA 4.0"
    assert most_restrictive(licences) == "CC BY-NC 4.0"
    assert most_restrictive([*licences, ""]) == most_restrictive([]) == ""


def test_what_may_not_be_changed_is_more_restricted_than_what_is_shared_alike():
    assert most_restrictive(["MIT", "CC BY-ND 4.0"]) == "CC BY-ND 4.0"
    assert most_restrictive(["CC BY-SA 4.0", "CC BY-ND 4.0", "CC BY-NC 4.0"]) == "CC BY-NC 4.0"
    assert most_restrictive(["CC BY-SA 4.0", "CC BY-ND 4.0"]) == "CC BY-ND 4.0"


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("CC BY-NC 4.0 (DPR)", "cc-by-nc-4.0"),
        ("Apache-2.0", "apache-2.0"),
        ("MIT", "mit"),
        ("research only (NewsQA)", "other"),
        ("", "other"),
    ],
)
def test_a_licence_has_the_hub_s_name_where_it_has_one(licence, name):
    assert hub_licence(licence) == name

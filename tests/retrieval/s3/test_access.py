from __future__ import annotations

import pytest

from rankrag.errors import ConfigError
from rankrag.retrieval.s3.access import access, endpoint


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home whose AWS files have two profiles, and an environment that says nothing."""
    for name in ("ACCESS_KEY_ID", "PROFILE", "REGION", "DEFAULT_REGION", "ENDPOINT_URL", "ENDPOINT_URL_S3"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("config", "credentials"):
        monkeypatch.setenv(f"AWS_{'SHARED_' * (name != 'config')}{name.upper()}_FILE", str(tmp_path / name))
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile other]\nregion = us-west-2\nendpoint_url = http://other\n"
        "[profile login]\nsso_session = x\n"
    )
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = 50%\n"
        "[other]\naws_access_key_id = B\naws_secret_access_key = b\naws_session_token = t\n"
    )
    return tmp_path


def test_keys_and_region_come_from_the_files(monkeypatch):
    assert access() == {"access_key_id": "A", "secret_access_key": "50%", "region": "eu-west-1"}
    assert endpoint() == ""
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert access() == {
        "access_key_id": "B",
        "secret_access_key": "b",
        "session_token": "t",
        "region": "us-west-2",
        "endpoint": "http://other",
    }


def test_the_environment_wins(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "C")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://all")
    assert access() == {"endpoint": "https://all"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3")
    assert endpoint() == "https://s3"


def test_a_profile_without_keys_says_how_to_get_them(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "login")
    with pytest.raises(ConfigError, match=r"'login' holds no keys .*aws configure export-credentials --profile login"):
        access()


def test_no_files_are_no_mistake_and_broken_ones_are_named(home):
    (home / "credentials").unlink()
    (home / "config").write_text("no section\n")
    with pytest.raises(ConfigError, match=r"config: not a file of AWS settings \(MissingSectionHeaderError\)"):
        access()
    (home / "config").unlink()
    assert access() == {}

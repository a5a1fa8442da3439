"""How a bucket is reached: from the environment, else from AWS's own files; never from arguments."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import S3Config


def access() -> S3Config:
    """Return what the environment does not say itself: keys, region and endpoint of a profile in AWS's files.

    The profile is `AWS_PROFILE`, else `default`. Keys in the environment win; without any, the library asks the
    machine's role (EC2, ECS, EKS). A profile that was asked for and has no keys is a `ConfigError`.
    """
    found: S3Config = {}
    profile = _profile()
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        if "aws_access_key_id" in profile:
            found["access_key_id"] = profile["aws_access_key_id"]
            found["secret_access_key"] = profile.get("aws_secret_access_key", "")
            if "aws_session_token" in profile:
                found["session_token"] = profile["aws_session_token"]
        elif name := os.environ.get("AWS_PROFILE"):
            raise ConfigError(
                f"AWS_PROFILE: the profile {name!r} holds no keys in ~/.aws; export those of a login or a role with: "
                f'eval "$(aws configure export-credentials --profile {name} --format env)"'
            )
    if "region" in profile and not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        found["region"] = profile["region"]
    if url := endpoint():
        found["endpoint"] = url
    return found


def endpoint() -> str:
    """Return the address of the S3 server; empty for Amazon's."""
    named = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return next(filter(None, named), None) or _profile().get("endpoint_url", "")


def _profile() -> dict[str, str]:
    """Return the settings of the profile in both of AWS's files; a section of `config` may be `profile NAME`."""
    name = os.environ.get("AWS_PROFILE") or "default"
    found: dict[str, str] = {}
    for variable, file in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        path = Path(os.environ.get(variable) or Path.home() / ".aws" / file).expanduser()
        parser = configparser.ConfigParser(interpolation=None, default_section="")
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a file of AWS settings ({type(error).__name__}); correct it") from None
        for section in (f"profile {name}", name):
            if parser.has_section(section):
                found.update(parser[section])
    return found

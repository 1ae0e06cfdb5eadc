"""Clients for one S3 bucket: boto3's, with a quicker parser of listings, and obstore's that follows it in everything."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from shared.settings import StorageSettings
from shared.storage.obstore_runtime import NO_RETRIES, client_options

if TYPE_CHECKING:
    from obstore.store import S3Credential

from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element

import botocore.session
from botocore.parsers import ResponseParser, ResponseParserError, ResponseParserFactory, RestXMLParser


def fast_session() -> botocore.session.Session:
    """A session of botocore whose clients parse so."""
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", _Factory())
    return session


class _Factory(ResponseParserFactory):  # type: ignore[misc]  # botocore has no types
    def create_parser(self, protocol_name: str) -> ResponseParser:
        return _Parser(**self._defaults) if protocol_name == "rest-xml" else super().create_parser(protocol_name)


class _Parser(RestXMLParser):  # type: ignore[misc]
    """Of an object in a listing only its key and its size."""

    def _handle_list(self, shape: Any, node: Any) -> Any:
        if shape.name != "ObjectList":
            return super()._handle_list(shape, node)
        return list(map(_key_and_size, node if isinstance(node, list) else [node]))


def _key_and_size(item: Iterable[Element]) -> dict[str, str | int]:
    # A tag is `{namespace}Name`; some stores name no namespace.
    texts = {child.tag.rpartition("}")[2]: child.text or "" for child in item}
    try:
        return {"Key": texts["Key"], "Size": int(texts["Size"])}
    except (KeyError, ValueError) as exc:
        raise ResponseParserError(f"a listing with an object without key or size: {texts}") from exc


_CONNECT_TIMEOUT = 5.0
_DEFAULT_REGION = "us-east-1"
_AWS = ("amazonaws.com", "amazonaws.com.cn", "api.aws")
# Serves buckets by host name only; most others know paths only.
_BY_HOST_NAME = ("aliyuncs.com",)
_CREDENTIALS_KEPT = timedelta(minutes=5)


def session_of(settings: StorageSettings) -> boto3.session.Session:
    """Credentials from the settings, or else from boto3's own chain: environment, profile, web identity, instance role."""
    return boto3.session.Session(
        botocore_session=fast_session(),
        aws_access_key_id=settings.storage_key_id or None,
        aws_secret_access_key=settings.storage_secret.get_secret_value() or None,
        aws_session_token=settings.storage_session_token.get_secret_value() or None,
        region_name=settings.storage_region or None,
    )


def client_of(session: boto3.session.Session, settings: StorageSettings, region: str = "") -> BaseClient:
    """A client whose calls are single attempts: retries, which must cover bodies too, are ours."""
    timeout = settings.storage_timeout
    client = session.client(
        "s3",
        endpoint_url=settings.storage_endpoint or None,
        region_name=region or session.region_name or os.environ.get("AWS_REGION") or _DEFAULT_REGION,
        config=_config(settings, timeout),
    )
    style = _addressing_style(session, settings, client)
    if style:
        client = session.client(
            "s3",
            endpoint_url=settings.storage_endpoint or None,
            region_name=client.meta.region_name,
            config=_config(settings, timeout).merge(Config(s3={"addressing_style": style})),
        )
    return client


def _config(settings: StorageSettings, timeout: float) -> Config:
    return Config(
        connect_timeout=min(timeout, _CONNECT_TIMEOUT),
        # A stalled connection is given up early enough for another attempt within the deadline.
        read_timeout=timeout / 3,
        max_pool_connections=settings.storage_connections,
        retries={"total_max_attempts": 1},
        tcp_keepalive=True,
        # Stores that only resemble S3 do not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _addressing_style(session: boto3.session.Session, settings: StorageSettings, client: BaseClient) -> str:
    """Empty: boto3 decides."""
    if settings.storage_path_style is not None:
        return "path" if settings.storage_path_style else "virtual"
    if (session._session.get_scoped_config().get("s3") or {}).get("addressing_style"):  # noqa: SLF001  no public way
        return ""
    return "" if _host(client).endswith((*_AWS, *_BY_HOST_NAME)) else "path"


def is_aws(client: BaseClient) -> bool:
    """Amazon's own S3, not one that resembles it."""
    return _host(client).endswith(_AWS)


def _host(client: BaseClient) -> str:
    return urlsplit(client.meta.endpoint_url).hostname or ""


class _Credentials(Boto3CredentialProvider):
    """An empty session token (KubeRay's examples set one) is none: stores refuse it."""

    def __call__(self) -> S3Credential:
        credentials = super().__call__()
        credentials["token"] = credentials.get("token") or None
        return credentials


def bulk_store(session: boto3.session.Session, client: BaseClient, settings: StorageSettings, bucket: str) -> S3Store:
    """A client of obstore at the address, region, credentials and certificates that boto3 uses. Asks for the bucket's region."""
    try:
        head = client.head_bucket(Bucket=bucket)
    except ClientError as exc:  # not every policy allows it; where the bucket is in another region, the error says which
        head = exc.response
    region = head["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region") or client.meta.region_name
    if region != client.meta.region_name and not settings.storage_endpoint:
        client = client_of(session, settings, region)
    # boto3 knows how profile, region and endpoint make an address; a signed URL shows it.
    address = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}))
    by_path = address.path.startswith(f"/{bucket}/")
    bundle = session._session.get_config_variable("ca_bundle")  # noqa: SLF001  AWS_CA_BUNDLE or the profile's
    options = client_options(settings, address.scheme)
    if bundle:
        with open(bundle, "rb") as certificates:  # noqa: PTH123
            options["root_certificate"] = certificates.read()
    base = address.path.removesuffix("/k").removesuffix(f"/{bucket}") if by_path else address.path.removesuffix("/k")
    return S3Store(
        bucket,
        endpoint=f"{address.scheme}://{address.netloc}{base}",
        region=region,
        virtual_hosted_style_request=not by_path,
        credential_provider=_Credentials(session, ttl=_CREDENTIALS_KEPT),
        client_options=options,
        retry_config=NO_RETRIES,
    )

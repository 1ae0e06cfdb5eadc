"""What our parser reads of a listing is what botocore's own reads, but for values that nobody asks for."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.parsers import ResponseParserError

from shared.storage.s3_client import fast_session

_OBJECT = "<Contents><Key>{}</Key><LastModified>2026-11-23T19:00:40.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>{}</Size></Contents>"
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def _page(namespace: str, *objects: tuple[str, int]) -> bytes:
    listed = "".join(_OBJECT.format(key, size) for key, size in objects)
    rest = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"
    return f"<ListBucketResult{namespace}><Name>b</Name>{listed}{rest}</ListBucketResult>".encode()


def _parsed(session: botocore.session.Session, body: bytes, status: int = 200) -> dict[str, Any]:
    shape = session.get_service_model("s3").operation_model("ListObjectsV2").output_shape
    parser = session.get_component("response_parser_factory").create_parser("rest-xml")
    parsed: dict[str, Any] = parser.parse({"status_code": status, "headers": {}, "body": body}, shape)
    return parsed


@pytest.mark.parametrize("namespace", ["", _NAMESPACE])
@pytest.mark.parametrize("objects", [(), (("a b&amp;c", 7),), (("x/y", 0), ("x/z%2F", 1 << 40))])
def test_keys_and_sizes(namespace: str, objects: tuple[tuple[str, int], ...]) -> None:
    body = _page(namespace, *objects)
    ours, own = _parsed(fast_session(), body), _parsed(botocore.session.get_session(), body)
    known = [{name: item[name] for name in ("Key", "Size")} for item in own.pop("Contents", [])]
    assert ours.pop("Contents", []) == known
    assert len(known) == len(objects)
    assert ours == own


def test_errors_are_botocores() -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    assert _parsed(fast_session(), body, 403)["Error"]["Code"] == "AccessDenied"


def test_an_object_without_a_size_is_an_error_and_no_empty_object() -> None:
    with pytest.raises(ResponseParserError, match="without key or size"):
        _parsed(fast_session(), b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>")

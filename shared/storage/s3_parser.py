"""Listings of S3 parsed to what is used of them. botocore reads every value of every object: a page of names took a tenth of a second."""

from __future__ import annotations

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

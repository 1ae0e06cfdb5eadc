"""Puts the bundled recorded sessions into an S3 bucket, which it makes: for compose.yaml and its test.

Settings: RAY_HISTORY_STORAGE=s3://bucket and what boto3 reads (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION).
Safe to run again. Waits for the store to answer.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Beside this script in the image, in tests/data in the source tree.
for place in (Path(__file__).parent, Path(__file__).parent.parent / "tests" / "data"):
    if (place / "recorded.py").is_file():
        sys.path.insert(0, str(place))
from recorded import unpack  # noqa: E402

_PATIENCE = 120.0
_THREADS = 16


def main() -> None:
    bucket = urlsplit(os.environ["RAY_HISTORY_STORAGE"]).netloc
    client = boto3.client(
        "s3",
        region_name=os.environ.get("AWS_REGION", "us-east-1"),
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=_THREADS, retries={"mode": "standard", "max_attempts": 8}),
    )
    deadline = time.monotonic() + _PATIENCE
    while not _made(client, bucket, last=time.monotonic() > deadline):
        time.sleep(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack(Path(scratch), only="bucket") / "bucket"
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(lambda path: client.upload_file(str(path), bucket, path.relative_to(root).as_posix()), files):
                pass
    print(f"{len(files)} objects are in s3://{bucket}")


def _made(client: object, bucket: str, *, last: bool) -> bool:
    """Is the bucket there? Raises what is wrong at the `last` try."""
    try:
        client.create_bucket(Bucket=bucket)  # type: ignore[attr-defined]
    except ClientError as exc:
        if exc.response.get("Error", {}).get("Code") in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            return True
        if last:
            raise
        return False
    except BotoCoreError:
        if last:
            raise
        return False
    return True


if __name__ == "__main__":
    main()

"""What an exception of boto3 or of its connection means."""

from __future__ import annotations

from botocore import exceptions as aws
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as connection

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.retries import Failure

_NO_OBJECT = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})
_NO_BUCKET = frozenset({"NoSuchBucket", "InvalidBucketName"})
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_WRONG_REGION = frozenset({"301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_REFUSED = {
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.TokenRetrievalError,
    aws.SSOError,
)
_CONNECTION = (
    aws.HTTPClientError,
    aws.ConnectionError,
    aws.IncompleteReadError,
    aws.ResponseStreamingError,
    ResponseParserError,
    connection.HTTPError,
    OSError,
)


def meaning_of(exc: Exception, where: str, key: str = "") -> Failure | None:
    """`where` is the store's URL, for the message. None: the exception comes from somewhere else."""
    if isinstance(exc, aws.ClientError):
        return _of_answer(exc, where, key)
    if isinstance(exc, _CREDENTIALS):
        return _unavailable(where, f"no usable credentials: {_line(exc)}")
    if isinstance(exc, (aws.SSLError, connection.SSLError)):
        # A reset during the handshake is an SSLError too; a certificate that fails will fail again.
        return _unavailable(where, f"TLS failed: {_line(exc)}", transient="CERTIFICATE" not in str(exc).upper())
    if isinstance(exc, _CONNECTION):
        return _unavailable(where, _line(exc), transient=True)
    if isinstance(exc, (aws.BotoCoreError, ValueError)):
        return _unavailable(where, _line(exc))
    return None


def _of_answer(exc: aws.ClientError, where: str, key: str) -> Failure:
    error = exc.response.get("Error", {})
    code = str(error.get("Code", ""))
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _NO_OBJECT and key:
        return Failure(ObjectNotFound(f"{key}: not in {where}"))
    if code in _NO_BUCKET:
        return _unavailable(where, f"there is no such bucket ({code})")
    if code in _THROTTLED or status == 429 or status >= 500:
        return _unavailable(where, f"the store answers {status} {code}", transient=True)
    if code in _EXPIRED:
        return _unavailable(where, f"the credentials have expired ({code})")
    if code in _WRONG_REGION or status in (301, 307):
        region = error.get("Region") or exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return _unavailable(where, f"wrong region: the bucket is in {region or 'another one'}; set AWS_REGION ({code})")
    if code in _REFUSED:
        return _unavailable(where, f"{_REFUSED[code]} ({code})")
    if status in (401, 403):
        return _unavailable(where, f"access denied ({status} {code})")
    return _unavailable(where, f"the store answers {status} {code}: {_first_line(str(error.get('Message', '')))}")


def _unavailable(where: str, reason: str, *, transient: bool = False) -> Failure:
    return Failure(StorageUnavailable(f"storage {where}: {reason}"), transient)


def _line(exc: Exception) -> str:
    return _first_line(str(exc)) or type(exc).__name__


def _first_line(text: str) -> str:
    return " ".join(text.split())[:300]

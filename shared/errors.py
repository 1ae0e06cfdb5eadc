"""Domain errors. They know no HTTP: `api/errors.py` maps each to a status and the stable `code` below."""

from __future__ import annotations


class HistoryError(Exception):
    """Base of every expected failure.

    `code` is stable and documented; `retryable` says whether the same request may succeed later without a change.
    """

    code = "internal_error"
    retryable = False


class SettingsError(HistoryError):
    """A setting is missing or wrong. The message names the environment variable."""

    code = "bad_setting"


class InvalidReference(HistoryError):
    """A namespace, kind, name or session that no cluster could have."""

    code = "invalid_reference"


class InvalidQuery(HistoryError):
    """A parameter of a list that is not what it should be."""

    code = "invalid_request"


class ExtraMissing(HistoryError):
    """What is asked for needs an optional package that is not installed on this server."""

    code = "extra_missing"


class JobIndexOff(HistoryError):
    """The index of jobs is turned off (`RAY_HISTORY_JOB_INDEX`)."""

    code = "job_index_off"


class JobNotFound(HistoryError):
    """The index of jobs holds no job that was submitted under this id."""

    code = "job_not_found"


class NoSessionChosen(HistoryError):
    """A dashboard route at the root without the cookies that say which session is meant."""

    code = "no_session_chosen"


class SessionNotFound(HistoryError):
    """The bucket and Kubernetes were asked, and there is no such cluster or session."""

    code = "session_not_found"


class SessionDeleted(HistoryError):
    """The session is being deleted from the bucket, or is not there any more."""

    code = "session_deleted"


class ObjectNotFound(HistoryError):
    """The object store was asked, and there is no such object."""

    code = "object_not_found"


class StorageUnavailable(HistoryError):
    """The object store could not be asked: nothing is known about what it holds."""

    code = "storage_unavailable"
    retryable = True


class StoreUnavailable(HistoryError):
    """Redis could not be asked."""

    code = "store_unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    """Redis is at its own memory limit (`maxmemory`), and refuses what would need more."""

    code = "store_full"


class KubernetesUnavailable(HistoryError):
    """Kubernetes or a head's dashboard could not be asked whether a session is live."""

    code = "kubernetes_unavailable"
    retryable = True


class SessionIsLive(HistoryError):
    """The session is the one that its running cluster answers for: it must not be loaded."""

    code = "session_live"


class StaleGeneration(HistoryError):
    """This load's generation is no longer the claimed one: it must stop and write nothing more."""

    code = "stale_generation"


class SnapshotGone(HistoryError):
    """A published generation was evicted or expired between two reads of one request."""

    code = "snapshot_gone"
    retryable = True


class SnapshotDamaged(SnapshotGone):
    """A published snapshot lacks a part that its index names."""

    code = "snapshot_damaged"


class RecordMissing(HistoryError):
    """A step of a load did not find what an earlier step had written."""

    code = "record_missing"
    retryable = True


class SnapshotTooLarge(HistoryError):
    """The session's snapshot does not fit the byte budget."""

    code = "snapshot_too_large"


class NoRoom(HistoryError):
    """The byte budget is taken by snapshots that are in use."""

    code = "no_room"
    retryable = True


class QueueFull(HistoryError):
    """More loads wait than are to wait: another one is not started."""

    code = "queue_full"
    retryable = True


class TooManyRequests(HistoryError):
    """This caller asked for more than one caller may in a time."""

    code = "too_many_requests"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        """`retry_after`: seconds until one more is allowed, if that is known."""
        super().__init__(message)
        self.retry_after = retry_after


class TooManyStreams(HistoryError):
    """This process serves as many streams as it may."""

    code = "too_many_streams"
    retryable = True


class Unauthenticated(HistoryError):
    """It is not known who asks."""

    code = "unauthenticated"


class LoginRefused(HistoryError):
    """The login provider, or what it says, does not let the caller in."""

    code = "login_refused"


class LoginUnavailable(HistoryError):
    """The login provider can't be asked."""

    code = "login_unavailable"
    retryable = True


class Forbidden(HistoryError):
    """The caller may see what they ask about, and may not do that to it."""

    code = "forbidden"


class LoadFailed(HistoryError):
    """The session's last load failed and may not be tried again yet."""

    code = "load_failed"
    retryable = True

    def __init__(self, message: str, *, code: str = "load_failed", retry_after: float = 30.0) -> None:
        super().__init__(message)
        self.cause_code = code
        self.retry_after = retry_after

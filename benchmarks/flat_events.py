"""The task events of a Ray session as structs, for the decode floor: the fields that a State API row needs, as they are written."""

from __future__ import annotations

import msgspec

Raw = msgspec.Raw


class PythonFunction(msgspec.Struct, gc=False):
    """`pythonFunctionDescriptor`"""

    functionName: str = ""  # noqa: N815
    className: str = ""  # noqa: N815


class OtherFunction(msgspec.Struct, gc=False):
    """`javaFunctionDescriptor`, `cppFunctionDescriptor`"""

    functionName: str = ""  # noqa: N815
    className: str = ""  # noqa: N815


class Function(msgspec.Struct, gc=False):
    """A function descriptor: one of three."""

    pythonFunctionDescriptor: PythonFunction | None = None  # noqa: N815
    javaFunctionDescriptor: OtherFunction | None = None  # noqa: N815
    cppFunctionDescriptor: OtherFunction | None = None  # noqa: N815


class Definition(msgspec.Struct, gc=False):
    """`taskDefinitionEvent` and `actorTaskDefinitionEvent` (which has no `taskType`)."""

    taskId: str = ""  # noqa: N815
    taskAttempt: int = 0  # noqa: N815
    jobId: str = ""  # noqa: N815
    taskType: str = "ACTOR_TASK"  # noqa: N815
    taskName: str = ""  # noqa: N815
    actorTaskName: str = ""  # noqa: N815
    actorId: str = ""  # noqa: N815
    taskFunc: Function | None = None  # noqa: N815
    actorFunc: Function | None = None  # noqa: N815
    language: str = "PYTHON"
    parentTaskId: str = ""  # noqa: N815
    placementGroupId: str = ""  # noqa: N815
    serializedRuntimeEnv: str = ""  # noqa: N815
    requiredResources: Raw = Raw(b"{}")  # noqa: N815
    labelSelector: Raw = Raw(b"{}")  # noqa: N815
    fallbackStrategy: Raw = Raw(b"null")  # noqa: N815
    callSite: str | None = None  # noqa: N815


class Transition(msgspec.Struct, gc=False):
    """One state and when it was reached (RFC 3339)."""

    state: str = "NIL"
    timestamp: str = ""


class ErrorInfo(msgspec.Struct, gc=False):
    """`rayErrorInfo`"""

    errorType: str = ""  # noqa: N815
    errorMessage: str = ""  # noqa: N815


class LogInfo(msgspec.Struct, gc=False):
    """`taskLogInfo`: files and byte offsets; which fields are there differs between events and versions."""

    stdoutFile: str | None = None  # noqa: N815
    stderrFile: str | None = None  # noqa: N815
    stdoutStart: int | None = None  # noqa: N815
    stdoutEnd: int | None = None  # noqa: N815
    stderrStart: int | None = None  # noqa: N815
    stderrEnd: int | None = None  # noqa: N815


class Lifecycle(msgspec.Struct, gc=False):
    """`taskLifecycleEvent`, but for its task's id: lines are by task."""

    taskAttempt: int = 0  # noqa: N815
    stateTransitions: list[Transition] = []  # noqa: N815
    nodeId: str = ""  # noqa: N815
    workerId: str = ""  # noqa: N815
    workerPid: int = 0  # noqa: N815
    rayErrorInfo: ErrorInfo | None = None  # noqa: N815
    taskLogInfo: LogInfo | None = None  # noqa: N815
    actorReprName: str = ""  # noqa: N815
    isDebuggerPaused: bool | None = None  # noqa: N815


class ProfileEvent(msgspec.Struct, gc=False):
    """One profiled span; times are ns."""

    eventName: str = ""  # noqa: N815
    startTime: int = 0  # noqa: N815
    endTime: int = 0  # noqa: N815
    extraData: str = "{}"  # noqa: N815


class ProfileEvents(msgspec.Struct, gc=False):
    """`profileEvents`"""

    componentId: str = ""  # noqa: N815
    componentType: str = ""  # noqa: N815
    nodeIpAddress: str = ""  # noqa: N815
    events: list[ProfileEvent] = []


class Profile(msgspec.Struct, gc=False):
    """`taskProfileEvents`, but for its task's id."""

    attemptNumber: int = 0  # noqa: N815
    profileEvents: ProfileEvents | None = None  # noqa: N815


class FlatLifecycle(Lifecycle, gc=False):
    """With its task's id."""

    taskId: str = ""  # noqa: N815


class FlatProfile(Profile, gc=False):
    """With its task's id."""

    taskId: str = ""  # noqa: N815


class FlatEvent(msgspec.Struct, gc=False):
    """An event with everything that rows are made of, decoded as it stands."""

    eventType: str = ""  # noqa: N815
    timestamp: str = ""
    taskDefinitionEvent: Definition | None = None  # noqa: N815
    actorTaskDefinitionEvent: Definition | None = None  # noqa: N815
    taskLifecycleEvent: FlatLifecycle | None = None  # noqa: N815
    taskProfileEvents: FlatProfile | None = None  # noqa: N815

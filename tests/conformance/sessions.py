"""The recorded sessions: where live's answers lie below the unpacked data, and how users name each."""

from __future__ import annotations

from shared.sessions import SessionRef

SESSIONS = {
    "rich": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-00-40_785172_1")),
    "stopped": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-05-06_598956_1")),
    "killed": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-07-13_553337_1")),
    "rayjob": ("rj-demo-x7k2p", SessionRef("batch", "rayjob", "rj-demo", "session_2026-11-23_19-08-07_927634_1")),
}

# By version: the cluster's folder below `live`, and the reference.
OLDER = {
    "2.55": {
        "service": ("fraud-svc-8mq2z", SessionRef("serving", "rayservice", "fraud-svc", "session_2026-11-28_07-51-48_733924_1")),
        "night": ("night-batch", SessionRef("team-b", "raycluster", "night-batch", "session_2026-11-28_07-56-56_417620_1")),
    },
    "2.54": {"killed": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-28_08-38-29_527170_1"))},
}

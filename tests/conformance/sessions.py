"""The recorded sessions: where live's answers lie below the unpacked data, and how users name each."""

from __future__ import annotations

from shared.sessions import SessionRef

SESSIONS = {
    "rich": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-00-40_785172_1")),
    "stopped": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-05-06_598956_1")),
    "killed": ("raycap", SessionRef("default", "raycluster", "raycap", "session_2026-11-23_19-07-13_553337_1")),
    "rayjob": ("rj-demo-x7k2p", SessionRef("batch", "rayjob", "rj-demo", "session_2026-11-23_19-08-07_927634_1")),
}

"""The load protocol: who may load a session, who may write, when readers see it. Every operation is one Lua script.

What Redis holds of a session (`shared/store/keys.py`), each with a TTL:

    claim    the generation that may load it; set with NX: one load at a time over all API processes
    load     about that load: attempt, who runs it, `beat`: when anybody last worked on it
    loaded   the loaded marker: id of the published snapshot, `{generation}.{attempt}`
    status   how the last load ended: loaded (complete or partial) or failed (why, and when it may be tried again)
    g:ID     the snapshot that an attempt writes     p:ID  its progress, one report a step
    w:ID     the ledger of a large load's steps: waiting, held by whom until when, done; and what steps leave for each other

    absent --claim--> queued --begin_attempt--> loading --publish--> loaded --drop, evict, hole, TTL--> absent
                         |                         |                   |
                         |                         +--fail--> failed   +--claim--> loaded, and loading anew in the background
                         +--beat too old, at the next visit: its message is sent again

The rules:

- **Fenced.** An attempt may write as long as the claim is its generation's and no later attempt has begun. It writes keys of its own.
- **Idempotent.** redis-py sends a command again when its reply is lost. Each call carries a token of its caller, or says what should
  be; said twice, it has one effect and one answer. Sizes are absolute, never increments.
- **Nothing is waited out.** Messages only say "this load wants a hand": losing one, or having it twice, does no harm. A visit that finds
  a load on which nobody worked for a lease, or a step whose hold ran out, sends its message again.
- **Readers see whole snapshots.** The marker flips in one step, which needs the claim. A hole in a published snapshot drops it.

`visits.py` is the API's side, `attempts.py` the workers', `ledger.py` the steps of large loads, `budget.py` the bytes of all snapshots.
"""

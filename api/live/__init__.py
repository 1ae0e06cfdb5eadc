"""Live clusters behind the API: `service.LiveSessions` is what routes use; `proxy` streams to heads."""

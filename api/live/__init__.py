"""The API's side of live clusters: which session is live, and the proxy to a running head's dashboard."""

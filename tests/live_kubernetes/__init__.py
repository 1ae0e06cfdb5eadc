"""Servers that stand in for Kubernetes and for a live head, over loopback, so that the official client and httpx talk to real sockets."""

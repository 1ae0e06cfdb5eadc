"""The HTTP side: stateless replicas that claim loads and serve published snapshots."""

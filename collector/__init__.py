"""The collector beside one Ray node: its events, logs and dashboard answers go into the object store, in KubeRay's layout."""

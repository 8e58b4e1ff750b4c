"""Where versions can answer: Evergreen's own replicas, and servers that others built."""

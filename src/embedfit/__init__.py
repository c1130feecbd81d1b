"""embedfit."""

"""The store: one script per transition, one round trip."""

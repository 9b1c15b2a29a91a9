"""Adapters that come with ragkit: one read-only folder each."""

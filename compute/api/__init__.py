"""The instance API for programs."""

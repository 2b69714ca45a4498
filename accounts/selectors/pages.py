"""What the lists of this app share."""

PAGE_SIZE = 50


def is_text(after: str) -> bool:
    """Whether it may be an id at all; PostgreSQL refuses the one character that no text may hold."""
    return after != "" and "\0" not in after

"""Work on many rows of many organizations, of which one must not keep the others waiting."""

from collections.abc import Callable, Iterable


def one_by_one[Row](rows: Iterable[Row], work: Callable[[Row], int], failed: Callable[[Row], object]) -> int:
    """Do the work for each row and return the sum of what it returns.

    rows: read before the work begins. work: in a transaction of its own. failed: says so in the log, with the exception
    at hand; what failed is found again by the next run.
    """
    done = 0
    for row in list(rows):
        try:
            done += work(row)
        except Exception:
            # A batch boundary: whatever is wrong with one row, the others are not kept waiting.
            failed(row)
    return done

"""Prove the ledger by itself, and raise an alarm where it is not whole."""

import structlog

from billing import selectors
from billing.selectors import LedgerProof

log = structlog.get_logger(__name__)


def report_ledger() -> LedgerProof:
    """Sum the whole ledger again, say in the log what came of it, and return it. For the platform role."""
    proof = selectors.prove_ledger()
    if proof.is_whole:
        log.info("billing.ledger.proved", accounts=proof.account_count, entries=proof.entry_count)
    else:
        first = proof.differences[0].account_id if proof.differences else ""
        log.error(
            "billing.ledger.differs",
            first=first,
            differences=proof.difference_count,
            unbalanced_nano=proof.debits_nano - proof.credits_nano,
        )
    return proof

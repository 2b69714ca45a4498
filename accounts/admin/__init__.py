"""Pages of staff. They work as the platform role, and what they change is in the organization's own log."""

from accounts.admin.legal_holds import LegalHoldAdmin
from accounts.admin.operator_keys import OperatorKeyAdmin
from accounts.admin.rate_limits import RateLimitAdmin

__all__ = ["LegalHoldAdmin", "OperatorKeyAdmin", "RateLimitAdmin"]

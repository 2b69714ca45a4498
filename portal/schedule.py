"""The whole beat schedule, with the reason beside every line. Names are strings: nothing is imported here."""

from datetime import timedelta
from typing import TypedDict


class Entry(TypedDict):
    task: str
    schedule: timedelta


SCHEDULE: dict[str, Entry] = {
    # Answers to repeated requests are promised for a day and may hold secrets: not kept longer.
    "forget-answers": {"task": "accounts.forget_answers", "schedule": timedelta(hours=1)},
    # Whoever could rewrite the tables cannot rewrite what was kept elsewhere since: at most a day is in doubt.
    "anchor-audit-logs": {"task": "accounts.anchor_audit_logs", "schedule": timedelta(days=1)},
    # An entry whose hint was lost, or whose endpoint comes back, waits this long more. One query.
    "deliver-audit-logs": {"task": "accounts.deliver_audit_logs", "schedule": timedelta(seconds=10)},
    # Owners learn that nothing is sent any more while the mail server was away.
    "tell-of-paused-endpoints": {"task": "accounts.tell_of_paused_endpoints", "schedule": timedelta(minutes=5)},
    # People learn of a leaked key within five minutes when the hint was lost or the mail server was away.
    "tell-of-leaks": {"task": "accounts.tell_of_leaks", "schedule": timedelta(minutes=5)},
    # A colleague waits for the mail, and its job may have been lost: asked for a minute ago and not sent is too long.
    "mail-unmailed-invitations": {"task": "accounts.mail_unmailed_invitations", "schedule": timedelta(minutes=1)},
    # Each domain once a day, an hour late at the most; hourly while its name servers are silent.
    "check-domains": {"task": "accounts.check_domains", "schedule": timedelta(hours=1)},
    # Owners read within five minutes what concerns their organization when the hint was lost or the mail server away.
    "mail-notices": {"task": "accounts.mail_notices", "schedule": timedelta(minutes=5)},
    # What docs/retention.md promises to be gone is gone a day later.
    "delete-past": {"task": "portal.delete_past", "schedule": timedelta(days=1)},
    # A gateway lease lives 10 s and a killed process may withhold it for 60 s at most.
    "expire-reservations": {"task": "billing.expire_reservations", "schedule": timedelta(seconds=10)},
    # Days are made eight ahead, so a beat that is down for a week loses nothing.
    "make-partitions": {"task": "billing.make_partitions", "schedule": timedelta(hours=1)},
    # The first reservation opens an account anyway; this only makes the credit a row for people to see.
    "open-accounts": {"task": "billing.open_accounts", "schedule": timedelta(minutes=5)},
    # People read within a minute that a cap fills, and again when the mail server was away.
    "warn-of-caps": {"task": "billing.warn_of_caps", "schedule": timedelta(minutes=1)},
    # Whoever spends far more than usual reads it while the day runs. Two sums for each organization, four weeks of few.
    "find-anomalies": {"task": "billing.find_anomalies", "schedule": timedelta(minutes=15)},
    # A stored message whose hint was lost waits this long for its look. One indexed query.
    "work-stripe-events": {"task": "billing.work_stripe_events", "schedule": timedelta(seconds=10)},
    # What did not reach us is fetched: nobody waits longer than this for credit that is paid.
    "fetch-stripe-events": {"task": "billing.fetch_stripe_events", "schedule": timedelta(minutes=5)},
    # Payments of which nothing was heard are asked after, ten minutes apart each.
    "look-after-payments": {"task": "billing.look_after_payments", "schedule": timedelta(minutes=1)},
    # People read of a payment when the hint was lost or the mail server away.
    "mail-payments": {"task": "billing.mail_payments", "schedule": timedelta(minutes=5)},
    # An approved refund whose hint was lost waits this long; those on their way are asked after ten minutes apart each.
    "look-after-refunds": {"task": "billing.look_after_refunds", "schedule": timedelta(minutes=1)},
    # People read of a refund when the hint was lost or the mail server away.
    "mail-refunds": {"task": "billing.mail_refunds", "schedule": timedelta(minutes=5)},
    # Evidence whose hint was lost waits this long; disputes are asked after, and what became unspent is frozen, ten
    # minutes apart each.
    "look-after-disputes": {"task": "billing.look_after_disputes", "schedule": timedelta(minutes=1)},
    # People read of a dispute when the hint was lost or the mail server away.
    "mail-disputes": {"task": "billing.mail_disputes", "schedule": timedelta(minutes=5)},
    # A removed card is not charged from that moment on; the provider forgets it when the hint was lost or it was away.
    "let-cards-go": {"task": "billing.let_cards_go", "schedule": timedelta(minutes=5)},
    # Work goes on: credit that runs low is bought within a minute where that is wanted. One indexed query.
    "start-reloads": {"task": "billing.start_reloads", "schedule": timedelta(minutes=1)},
    # Higher prices are announced 30 days ahead: people read it within an hour, also who has begun to use it since.
    "tell-of-prices": {"task": "billing.tell_of_prices", "schedule": timedelta(hours=1)},
    # Invoices of a month are there an hour after its grace; one that failed is tried again. Late events change nothing.
    "close-months": {"task": "billing.close_months", "schedule": timedelta(hours=1)},
    # People read of an invoice when the mail server was away, or a person issued it; and of transfers.
    "mail-invoices": {"task": "billing.mail_invoices", "schedule": timedelta(minutes=5)},
    # The file of an invoice outlives the events that it is made of. Until it is kept, they are.
    "keep-invoice-files": {"task": "billing.keep_invoice_files", "schedule": timedelta(hours=1)},
    # Credit whose time is over is room for an hour at the most.
    "expire-credits": {"task": "billing.expire_credits", "schedule": timedelta(hours=1)},
    # Terms begin and end within a quarter of an hour; room that lower ones could not take at once goes as it is paid.
    "work-terms": {"task": "billing.work_terms", "schedule": timedelta(minutes=15)},
    # What a bill that is not paid leads to happens within a quarter of an hour of its day, and its mails go with it.
    "work-standings": {"task": "billing.work_standings", "schedule": timedelta(minutes=15)},
    # Whoever changed a row past every guard is found within a day. Sums all entries, so not more often.
    "prove-ledger": {"task": "billing.prove_ledger", "schedule": timedelta(days=1)},
    # Each day is compared once, three hours after its end; hourly, so that what trouble kept is made up for.
    "reconcile-books": {"task": "billing.reconcile", "schedule": timedelta(hours=1)},
    # The same for hours of instances, which billing knows nothing of.
    "compare-hours": {"task": "compute.compare_hours", "schedule": timedelta(hours=1)},
    # Instances whose time to be looked at has come: a launch whose hint was lost waits this long. One indexed query.
    "reconcile-instances": {"task": "compute.reconcile_due_instances", "schedule": timedelta(seconds=2)},
    # An end date is kept within a quarter of a minute.
    "expire-instances": {"task": "compute.expire_instances", "schedule": timedelta(seconds=15)},
    # The grace of a deleted organization ends within an hour of what was said.
    "close-organizations": {"task": "accounts.close_organizations", "schedule": timedelta(hours=1)},
    # Owners learn that their organization is being deleted while the mail server was away.
    "announce-closings": {"task": "accounts.announce_closings", "schedule": timedelta(minutes=5)},
    # A closed organization's machines cost until they end, and a launch may have been on its way.
    "end-closed": {"task": "compute.end_closed", "schedule": timedelta(seconds=60)},
    # What a suspended organization runs holds no budget any more and stops by itself; this says why, and sooner.
    "stop-suspended": {"task": "compute.stop_suspended", "schedule": timedelta(seconds=60)},
    # Deployments that nobody answers for are asked last; the gateway's own view is faster but per process.
    "probe-deployments": {"task": "inference.probe_deployments", "schedule": timedelta(seconds=30)},
    # Machines that no row wants cost the owner money, and only a crash at a bad moment makes one.
    "sweep-orphans": {"task": "compute.sweep_orphans", "schedule": timedelta(seconds=60)},
}

"""Keep the file of every issued invoice: events are kept for 13 months, invoices for ten years.

Until its file is kept, the events of an invoice are not forgotten (migration 0037).
"""

import gzip
import hashlib
import secrets
import tempfile
from datetime import datetime
from typing import BinaryIO, cast

import structlog
from django.core.files import File
from django.core.files.storage import storages
from django.db import IntegrityError, transaction
from django.db.models import F

from billing.models import Invoice, InvoiceFile
from billing.selectors.invoice_export import export_records
from billing.selectors.invoice_files import STORAGE
from portal.lib.batches import one_by_one
from portal.lib.exports import json_lines

log = structlog.get_logger(__name__)

BATCH = 100
# What of a file is in memory while it is made; the rest is on disk.
IN_MEMORY = 1 << 20


def keep_invoice_files(*, now: datetime) -> int:
    """Make the files of issued invoices that have none; return how many. For the platform role.

    First those that were never tried, the oldest first, then those whose last attempt is longest ago: so many that
    fail for ever keep none waiting.
    """
    waiting = Invoice.objects.issued().filter(kept_file=None).select_related("organization")
    return one_by_one(
        waiting.order_by(F("file_tried_at").asc(nulls_first=True), "issued_at", "pk")[:BATCH],
        lambda invoice: _keep(invoice, now),
        lambda invoice: log.exception("billing.invoice_file.not_kept", invoice=invoice.public_id),
    )


def _keep(invoice: Invoice, now: datetime) -> int:
    # By itself: it holds when the attempt fails.
    Invoice.objects.filter(pk=invoice.pk).update(file_tried_at=now)
    digest, size = hashlib.sha256(), 0
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as made:
        # Without the time in it, the same content is the same file.
        with gzip.GzipFile(fileobj=cast("BinaryIO", made), mode="wb", mtime=0) as packed:
            for line in json_lines(export_records(invoice.organization, invoice)):
                digest.update(line)
                size += len(line)
                packed.write(line)
        made.seek(0)
        # Each attempt has a name of its own: one that was cut off, or lost to another worker, overwrites nothing.
        wanted = f"{invoice.organization.public_id}/{invoice.public_id}-{secrets.token_hex(4)}.jsonl.gz"
        name = storages[STORAGE].save(wanted, File(made))
    try:
        with transaction.atomic():
            InvoiceFile.objects.create(
                organization_id=invoice.organization_id,
                invoice=invoice,
                name=name,
                digest=digest.hexdigest(),
                size=size,
                made_at=now,
            )
    except IntegrityError:
        # Another worker kept it meanwhile.
        storages[STORAGE].delete(name)
        return 0
    log.info("billing.invoice_file.kept", invoice=invoice.public_id, size=size)
    return 1

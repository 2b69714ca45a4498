"""The kept files of invoices, as they are downloaded."""

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from django.core.files.storage import storages

from billing.models import Invoice, InvoiceFile

STORAGE = "invoice_files"
PART = 1 << 16


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What a customer downloads, part by part, and its SHA-256 in base64."""

    digest: str
    parts: Iterator[bytes]


def kept_file_of(invoice: Invoice) -> KeptFile | None:
    """Return the kept file of an issued invoice, None while there is none. Raises OSError where the storage lost it."""
    row = InvoiceFile.objects.of_invoice(invoice).first()
    if row is None:
        return None
    packed = storages[STORAGE].open(row.name)
    return KeptFile(base64.b64encode(bytes.fromhex(row.digest)).decode(), _parts(packed))


def _parts(packed: IO[bytes]) -> Iterator[bytes]:
    with packed, gzip.GzipFile(fileobj=packed, mode="rb") as content:
        while part := content.read(PART):
            yield part

from importlib import import_module

from django.db import migrations, models

_KEEP = "CREATE FUNCTION billing_keep_invoice()"
_FORMER = import_module("billing.migrations.0019_invoices_stay").UNCHANGED.sql
_BEGIN = _FORMER.index(_KEEP)
_AGAIN = _FORMER[_BEGIN : _FORMER.index("$$;", _BEGIN) + 3].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_MOVES = "'status', 'paid_at', 'mailed_at'"

# An attempt to keep its file says nothing of what was invoiced.
ATTEMPTS_MOVE = migrations.RunSQL(_AGAIN.replace(_MOVES, f"{_MOVES}, 'file_tried_at'"), _AGAIN)


class Migration(migrations.Migration):
    dependencies = [("billing", "0044_cost_tags")]

    operations = [
        migrations.AddField(model_name="invoice", name="file_tried_at", field=models.DateTimeField(null=True)),
        ATTEMPTS_MOVE,
    ]

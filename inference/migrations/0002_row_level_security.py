from django.db import migrations

from portal.lib.tenancy import append_only, grant_to_gateway, tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_deployments_and_receipts"), ("accounts", "0002_row_level_security")]

    operations = [
        tenant_table("inference_receipt"),
        tenant_foreign_key("inference_receipt", "project_id", "accounts_project"),
        tenant_foreign_key("inference_receipt", "api_key_id", "accounts_apikey"),
        append_only("inference_receipt"),
        tenant_table("inference_idempotencyclaim"),
        tenant_foreign_key("inference_idempotencyclaim", "project_id", "accounts_project"),
        grant_to_gateway("inference_deployment", "SELECT"),
        grant_to_gateway("inference_receipt", "SELECT, INSERT"),
        grant_to_gateway("inference_idempotencyclaim", "SELECT, INSERT, UPDATE, DELETE"),
        grant_to_gateway("catalog_region", "SELECT"),
    ]

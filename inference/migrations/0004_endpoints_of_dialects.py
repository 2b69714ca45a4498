from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0003_forget_receipts")]

    operations = [
        migrations.AlterField(
            model_name="receipt",
            name="endpoint",
            field=models.CharField(
                choices=[
                    ("chat.completions", "Chat completion"),
                    ("completions", "Completion"),
                    ("embeddings", "Embedding"),
                    ("responses", "Response"),
                    ("messages", "Message"),
                ],
                max_length=20,
            ),
        ),
    ]

"""What test_cap_under_fire.py and the workers that it starts agree on."""

from portal.lib.money import NANO_PER_CENT

SECONDS_SKU, TOKENS_SKU = "instance.gpu_1x.surplus", "model.reported.input"
# A cent for a second, and for a thousand tokens.
NANO_PER_SECOND, NANO_PER_TOKEN = NANO_PER_CENT, NANO_PER_CENT // 1_000

"""Where one checkout keeps what it makes while it runs: everything under var/, so that two can run side by side."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Another place for a second portal from the same checkout, as the journey tests start one.
VAR = Path(os.environ.get("VAR_DIR", ROOT / "var")).absolute()
RUN = VAR / "run"
LOGS = VAR / "log"
MAIL = VAR / "mail"
DEMO = VAR / "demo.json"
SECRETS = VAR / "secrets.json"

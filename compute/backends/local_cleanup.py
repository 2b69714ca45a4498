"""Stop every machine of a local engine, keeping their disks: `python -m compute.backends.local_cleanup FOLDER`."""

import sys
from pathlib import Path

from compute.backends.local import end_all

if __name__ == "__main__":
    ended = end_all(Path(sys.argv[1]))
    sys.stdout.write(f"{ended} local machines ended\n")
